"""Knowledge preservation (KP): what the original network knew is not to be forgotten.

After Cai et al., MICCAI 2018: the discrepancy between the responses of the original and of the
updated network to the same radiographs is a loss. Which responses, and their weights, are
reconstructions: the paper's own could not be read.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network import LocalizationNetwork
from training.recipe import PreservationRecipe


class KnowledgePreservation(nn.Module):
    """Holds a frozen copy of a network, and how far another has gone from it.

    Args:
        network: the original, as it is now.
        recipe: the weights of logits and maps.
    """

    def __init__(self, network: LocalizationNetwork, recipe: PreservationRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.original = copy.deepcopy(network).requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "KnowledgePreservation":
        """The original stays as it was, its dropout off and its statistics fixed."""
        super().train(mode)
        self.original.eval()
        return self

    @torch.no_grad()
    def respond(self, radiographs: Tensor, *, quarters: bool = False) -> tuple[Tensor, Tensor]:
        """The original's logits `[batch, diseases]` and maps, of radiographs or their quarters."""
        original = self.original
        look = original.features_of_quarters if quarters else original.features
        maps = original.evidence(look(radiographs))
        return original.pool(maps), maps

    def forward(self, logits: Tensor, maps: Tensor, responses: tuple[Tensor, Tensor]) -> Tensor:
        """The loss: weighted mean squared differences to what `respond` gave."""
        known_logits, known_maps = responses
        return self.recipe.logits * F.mse_loss(logits, known_logits) + self.recipe.maps * (
            F.mse_loss(maps, known_maps)
        )
