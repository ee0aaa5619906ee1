"""From a heat map of logits to one logit: over all of it, or over the cells that are visible."""

import math

import torch
from torch import Tensor, nn

HIDDEN = -1e4
"""Stands for the logit of a cell that is not visible: less than any evidence against."""


class LogSumExpPooling(nn.Module):
    """A smooth maximum over a map, `log(mean(exp(r x))) / r` (Pinheiro & Collobert 2015, eq. 6).

    Wang et al. 2017 (eq. 2) use it for ChestX-ray14.
    """

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, maps: Tensor) -> Tensor:
        """`[*, rows, columns]` -> `[*]`."""
        scaled = self.sharpness * maps.flatten(-2)
        return (scaled.logsumexp(-1) - math.log(scaled.shape[-1])) / self.sharpness

    def visible(self, maps: Tensor, visible: Tensor) -> Tensor:
        """As `forward`, over the cells where `visible`, of the maps' shape, is 1.

        Between 0 and 1 a cell counts for that share. A map without a visible cell is `HIDDEN`.
        """
        weights, scaled = visible.flatten(-2), self.sharpness * maps.flatten(-2)
        share = weights.sum(-1)
        # The hidden cells' own values are taken out, so that they cannot even overflow.
        weighted = torch.where(weights > 0, scaled + weights.clamp(min=1e-6).log(), HIDDEN)
        pooled = (weighted.logsumexp(-1) - share.clamp(min=1e-6).log()) / self.sharpness
        return torch.where(share > 0, pooled, HIDDEN)


class AveragePooling(nn.Module):
    """The mean over a map: with the last stage alone, class activation mapping (Zhou 2016)."""

    def forward(self, maps: Tensor) -> Tensor:
        """`[*, rows, columns]` -> `[*]`."""
        return maps.flatten(-2).mean(-1)

    def visible(self, maps: Tensor, visible: Tensor) -> Tensor:
        """As `LogSumExpPooling.visible`."""
        share = visible.flatten(-2).sum(-1)
        total = (torch.where(visible > 0, maps, 0.0) * visible).flatten(-2).sum(-1)
        return torch.where(share > 0, total / share.clamp(min=1e-6), HIDDEN)
