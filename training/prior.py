"""Mined boxes as a localization prior: a disease's evidence is to lie where it was mined.

A heat map is pooled by log-sum-exp, whose gradient gives each cell a share of the logit: the
softmax of the map. The prior asks that the share within the mined boxes be large. It says where
not to look, and nothing of where in a box, for a mined box is no truth.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST = 1e-6
"""A share of the evidence that counts as none, so that its logarithm is finite."""


class Mined(NamedTuple):
    """Where diseases were mined in the radiographs of a batch."""

    pairs: Tensor
    """Long `[pairs, 2]`: radiograph of the batch, disease."""
    masks: Tensor
    """uint8 `[pairs, side, side]` over the radiograph as it is in the cache; 255 is wholly in."""


@dataclass(frozen=True)
class MinedMasks:
    """Where diseases were mined in the radiographs of a part; see `training.harvest`."""

    pairs: Tensor
    """Long `[pairs, 2]`, sorted: row of the part, disease."""
    masks: Tensor
    """uint8 `[pairs, side, side]`; see `Mined`."""

    def of(self, rows: list[int]) -> Mined:
        """Those of some rows, numbered by their places among them."""
        bounds = torch.searchsorted(
            self.pairs[:, 0].contiguous(), torch.tensor([rows, [row + 1 for row in rows]])
        )
        chosen = torch.cat([torch.arange(*ends) for ends in bounds.T.tolist()])
        places = torch.arange(len(rows)).repeat_interleave(bounds[1] - bounds[0])
        return Mined(torch.stack([places, self.pairs[chosen, 1]], 1), self.masks[chosen])


def move_masks(masks: Tensor, motion: Tensor, side: int) -> Tensor:
    """Carry masks along as their radiographs were moved; beyond the border nothing was mined.

    Args:
        masks: uint8 `[pairs, *, *]`.
        motion: of each one's radiograph, float `[pairs, 2, 3]`; see `augment`.
        side: of the network's input, in pixels.

    Returns:
        float `[pairs, side, side]` in [0, 1].
    """
    if len(masks) == 0:  # Of which `affine_grid` makes none.
        return motion.new_zeros(0, side, side)
    images = masks[:, None].float() / 255
    grid = F.affine_grid(motion, [len(images), 1, side, side], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)[:, 0]


def prior_loss(maps: Tensor, pairs: Tensor, masks: Tensor, sharpness: float) -> Tensor:
    """The mean of `-log(share of the evidence inside)`: 0 where all of it is.

    Args:
        maps: evidence in logits, `[batch, diseases, rows, columns]`.
        pairs: long `[pairs, 2]`: radiograph, disease.
        masks: float `[pairs, *, *]` in [0, 1], over the radiographs as the network sees them. A
            mask that was moved out of sight asks for nothing.
        sharpness: of the pooling, whose shares these are.
    """
    cells = F.adaptive_avg_pool2d(masks[:, None], maps.shape[-2:]).flatten(1)
    seen = cells.sum(dim=1) > 0
    if not seen.any():
        return maps.new_zeros(())
    rows, diseases = pairs[seen].T
    shares = torch.softmax(sharpness * maps[rows, diseases].flatten(1).float(), dim=1)
    inside = (shares * cells[seen]).sum(dim=1)
    return -inside.clamp(min=LEAST).log().mean()
