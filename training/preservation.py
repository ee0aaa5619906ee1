"""Knowledge preservation (KP): what the original network knew is not to be forgotten.

After Cai et al., MICCAI 2018: the discrepancy between the responses of the original and of the
updated network to the same radiographs is a loss. Which responses, and their weights, are
reconstructions: the paper's own could not be read.

What is known may come from more than one network: the logits of an ensemble are better than any
member's, and a network that answers as the ensemble does keeps part of that (Hinton et al. 2015).
"""

import copy
from collections.abc import Sequence

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
    def respond(self, radiographs: Tensor, *, quarters: bool = False) -> tuple[Tensor, Tensor]:
        """What is known of radiographs: logits `[batch, diseases]`, and the original's maps.

        The original sees them as the trained network does, whole or in quarters; its companions
        see them whole.
        """
        original = self.original
        look = original.features_of_quarters if quarters else original.features
        maps = original.evidence(look(radiographs))
        logits = [original.pool(maps)]
        logits += [companion(radiographs)[0] for companion in self.companions]
        return torch.stack(logits).mean(dim=0), maps

    def forward(self, logits: Tensor, maps: Tensor, responses: tuple[Tensor, Tensor]) -> Tensor:
        """The loss: weighted mean squared differences to what `respond` gave."""
        known_logits, known_maps = responses
        return self.recipe.logits * F.mse_loss(logits, known_logits) + self.recipe.maps * (
            F.mse_loss(maps, known_maps)
        )
