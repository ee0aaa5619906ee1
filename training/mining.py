"""Attention mining (AM): hide where a disease was found, and look for it again.

After Cai et al., MICCAI 2018: once the most salient region of a disease is hidden, the network
looks elsewhere while it still has to say the same. What is hidden accumulates over the steps.
Layer, threshold and number of steps are reconstructions: the paper's own could not be read.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from training.network import LocalizationNetwork
from training.recipe import MiningRecipe

Look = Callable[[Tensor], Tensor]
"""From what is visible, `[maps, rows, columns]` in [0, 1], to evidence of the same shape."""

See = Callable[[Tensor], Tensor]
"""From radiographs `[batch, 1, height, width]` to their aggregated maps."""


class Step(NamedTuple):
    """One look at what the steps before have left; each tensor's first axis is the map."""

    maps: Tensor
    """Evidence in logits, `[maps, rows, columns]`; it counts where cells are visible."""
    visible: Tensor
    """In [0, 1], of the same shape."""
    logits: Tensor
    """`[maps]`, pooled from the visible cells."""
    active: Tensor
    """1 where the disease was still there before this step hid it, else 0; `[maps]`."""


def salience(maps: Tensor, visible: Tensor, recipe: MiningRecipe) -> Tensor:
    """How much of each cell the next step hides, in [0, 1].

    Args:
        maps: `[*, rows, columns]`.
        visible: of the same shape; the range is that of the cells that are not wholly hidden.
        recipe: threshold and kind of mask.
    """
    inside = visible > 0
    low = torch.where(inside, maps, torch.inf).amin(dim=(-2, -1), keepdim=True)
    high = torch.where(inside, maps, -torch.inf).amax(dim=(-2, -1), keepdim=True)
    share = (maps - low) / (high - low).clamp(min=1e-6)
    if recipe.mask == "hard":
        return (share > recipe.threshold).to(maps.dtype)
    return torch.sigmoid(recipe.slope * (share - recipe.threshold))


def mine(
    first: Tensor,
    look: Look,
    pool: Callable[[Tensor, Tensor], Tensor],
    stop: Callable[[Tensor], Tensor],
    recipe: MiningRecipe,
) -> list[Step]:
    """Hide what was found and look again, `recipe.steps` times.

    Args:
        first: evidence `[maps, rows, columns]` of the unhidden radiographs, one disease each.
        look: evidence of what is left visible.
        pool: evidence and what is visible to logits `[maps]`.
        stop: logits `[maps]` to whether mining ends there, bool; once ended, a map stays so.
        recipe: of the masks.

    Returns:
        The unhidden look, then one step after another.
    """
    visible = torch.ones_like(first)
    logits = pool(first, visible)
    steps = [Step(first, visible, logits, torch.ones_like(logits))]
    for _ in range(recipe.steps):
        last = steps[-1]
        # Where to hide is a decision, not something to be learned through.
        hidden = salience(last.maps.detach(), last.visible, recipe)
        visible = last.visible * (1 - hidden)
        active = last.active * (~stop(last.logits.detach())).to(last.active.dtype)
        maps = look(visible)
        steps.append(Step(maps, visible, pool(maps, visible), active))
    return steps


def hide_features(network: LocalizationNetwork, features: Tensor, diseases: Tensor) -> Look:
    """A look that hides cells of the aggregated map.

    Args:
        network: whose `evidence_of` looks.
        features: `[maps, width, rows, columns]`.
        diseases: long `[maps]`.
    """
    return lambda visible: network.evidence_of(features * visible[:, None], diseases)


def hide_pixels(
    network: LocalizationNetwork, see: See, radiographs: Tensor, diseases: Tensor
) -> Look:
    """A look that hides pixels under their mean, and runs the whole network again.

    Args:
        network: the whole of it looks.
        see: `network.features`, or that of quarters.
        radiographs: `[maps, 1, height, width]` in [0, 1].
        diseases: long `[maps]`.
    """
    fill = radiographs.mean(dim=(1, 2, 3), keepdim=True)

    def look(visible: Tensor) -> Tensor:
        mask = F.interpolate(visible[:, None], size=radiographs.shape[-2:])
        return network.evidence_of(see(torch.lerp(fill, radiographs, mask)), diseases)

    return look


def mine_labelled(
    network: LocalizationNetwork,
    see: See,
    radiographs: Tensor,
    features: Tensor,
    maps: Tensor,
    labels: Tensor,
    recipe: MiningRecipe,
) -> tuple[list[Step], Tensor]:
    """The steps of every disease that the labels give, and of no other.

    Args:
        network: in training.
        see: `network.features`, or that of quarters, as the unhidden pass saw.
        radiographs: float `[batch, 1, height, width]`.
        features: their aggregated maps.
        maps: the evidence of the unhidden pass, `[batch, diseases, rows, columns]`.
        labels: float `[batch, diseases]`.
        recipe: what is hidden and how.

    Returns:
        The steps over the labelled pairs, and the pairs, long `[pairs, 2]`: radiograph, disease.
    """
    pairs = labels.nonzero()
    rows, diseases = pairs.T
    look = (
        hide_features(network, features[rows], diseases)
        if recipe.where == "features"
        else hide_pixels(network, see, radiographs[rows], diseases)
    )
    first = maps[rows, diseases]
    return mine(first, look, network.pool.visible, lambda z: z < recipe.stop, recipe), pairs
