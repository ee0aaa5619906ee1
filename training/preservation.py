"""Knowledge preservation (KP): what the original network knew is not to be forgotten.

After Cai et al., MICCAI 2018: the discrepancy between the responses of the original and of the
updated network to the same radiographs is a loss. Which responses, and their weights, are
reconstructions: the paper's own could not be read.

What is known may come from more than one network: the logits of an ensemble are better than any
member's, and a network that answers as the ensemble does keeps part of that (Hinton et al. 2015).
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.mining import Conceal, See, Step
from training.network import LocalizationNetwork
from training.recipe import PreservationRecipe


class Responses(NamedTuple):
    """What is known of radiographs."""

    logits: Tensor
    """`[batch, diseases]`."""
    maps: Tensor
    """The original's, `[batch, diseases, rows, columns]`."""
    features: Tensor
    """Its aggregated maps."""


class KnowledgePreservation(nn.Module):
    """Holds a frozen copy of a network, and how far another has gone from it.

    Args:
        network: the original, as it is now.
        recipe: the weights of logits and maps.
        companions: networks whose logits are averaged with the original's.
    """

    def __init__(
        self,
        network: LocalizationNetwork,
        recipe: PreservationRecipe,
        companions: Sequence[LocalizationNetwork] = (),
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.original = copy.deepcopy(network)
        self.companions = nn.ModuleList(companions)
        self.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "KnowledgePreservation":
        """All stay as they were, dropout off and statistics fixed."""
        super().train(mode)
        self.original.eval()
        self.companions.eval()
        return self

    @torch.no_grad()
    def respond(self, radiographs: Tensor, *, quarters: bool = False) -> Responses:
        """What is known of radiographs `[batch, 1, height, width]`.

        The original sees them as the trained network does, whole or in quarters; its companions
        see them whole.
        """
        original = self.original
        features = self.see(quarters=quarters)(radiographs)
        maps = original.evidence(features)
        logits = [original.pool(maps)]
        logits += [companion(radiographs)[0] for companion in self.companions]
        return Responses(torch.stack(logits).mean(dim=0), maps, features)

    def see(self, *, quarters: bool) -> See:
        """How the original sees radiographs."""
        return self.original.features_of_quarters if quarters else self.original.features

    def forward(self, logits: Tensor, maps: Tensor, known: Responses) -> Tensor:
        """The loss: weighted mean squared differences to what `respond` gave."""
        return self.recipe.logits * F.mse_loss(logits, known.logits) + self.recipe.maps * (
            F.mse_loss(maps, known.maps)
        )

    def of_hidden(
        self, network: LocalizationNetwork, steps: list[Step], diseases: Tensor, conceal: Conceal
    ) -> Tensor:
        """The loss where one disease of each radiograph was hidden, for all the other diseases.

        Args:
            network: that is trained.
            steps: its looks, the unhidden one first; each `[pairs, ...]`.
            diseases: long `[pairs]`, which one was hidden.
            conceal: how the original sees what a step left visible.
        """
        other = F.one_hot(diseases, network.head.out_channels) == 0
        differences = []
        for step in steps[1:]:
            with torch.no_grad():
                known = self.original.pool(self.original.evidence(conceal(step.visible)))
            logits = network.pool(network.evidence(step.seen))
            differences.append((logits - known)[other])
        return self.recipe.hidden * torch.cat(differences).square().mean()
