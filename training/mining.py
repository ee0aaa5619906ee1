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

See = Callable[[Tensor], Tensor]
"""From radiographs `[batch, 1, height, width]` to their aggregated maps."""

Conceal = Callable[[Tensor], Tensor]
"""From what is visible, `[maps, rows, columns]` in [0, 1], to the aggregated maps of that, float
`[maps, width, rows, columns]`."""


class Step(NamedTuple):
    """One look at what the steps before have left; each tensor's first axis is the map."""

    maps: Tensor
    """Evidence in logits, `[maps, rows, columns]`; it counts where cells are visible."""
    seen: Tensor
    """The aggregated maps that it was read from, `[maps, width, rows, columns]`."""
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
    network: LocalizationNetwork,
    seen: Tensor,
    first: Tensor,
    diseases: Tensor,
    conceal: Conceal,
    stop: Callable[[Tensor], Tensor],
    recipe: MiningRecipe,
    margin: int = 0,
    find: Callable[[Tensor], Tensor] = lambda maps: maps,
) -> list[Step]:
    """Hide what was found and look again, `recipe.steps` times.

    Args:
        network: that looks.
        seen: aggregated maps `[maps, width, rows, columns]` of the unhidden radiographs.
        first: the evidence of one disease in each, `[maps, rows, columns]`.
        diseases: long `[maps]`, which one.
        conceal: how the network sees what is left visible.
        stop: logits `[maps]` to whether mining ends there, bool; once ended, a map stays so.
        recipe: of the masks.
        margin: cells around a salient region that are hidden with it.
        find: from evidence `[maps, rows, columns]` to that in which a region is salient, of the
            same shape; the evidence itself.

    Returns:
        The unhidden look, then one step after another.
    """
    visible = torch.ones_like(first)
    logits = network.pool.visible(first, visible)
    steps = [Step(first, seen, visible, logits, torch.ones_like(logits))]
    for _ in range(recipe.steps):
        last = steps[-1]
        # Where to hide is a decision, not something to be learned through.
        hidden = salience(find(last.maps.detach()), last.visible, recipe)
        hidden = F.max_pool2d(hidden[:, None], 2 * margin + 1, stride=1, padding=margin)[:, 0]
        visible = last.visible * (1 - hidden)
        active = last.active * (~stop(last.logits.detach())).to(last.active.dtype)
        seen = conceal(visible)
        maps = network.evidence_of(seen, diseases)
        steps.append(Step(maps, seen, visible, network.pool.visible(maps, visible), active))
    return steps


def conceal_cells(features: Tensor) -> Conceal:
    """Hides cells of aggregated maps `[maps, width, rows, columns]`."""
    return lambda visible: features * visible[:, None]


def conceal_pixels(see: See, radiographs: Tensor) -> Conceal:
    """Hides pixels of radiographs `[maps, 1, height, width]` under their mean, and sees them again.

    Args:
        see: `features` of the network that looks, or that of quarters.
        radiographs: in [0, 1].
    """
    fill = radiographs.mean(dim=(1, 2, 3), keepdim=True)

    def conceal(visible: Tensor) -> Tensor:
        mask = F.interpolate(visible[:, None], size=radiographs.shape[-2:])
        return see(torch.lerp(fill, radiographs, mask))

    return conceal


def conceal(see: See, radiographs: Tensor, features: Tensor, recipe: MiningRecipe) -> Conceal:
    """As the recipe hides: from radiographs, or from their aggregated maps."""
    if recipe.where == "features":
        return conceal_cells(features)
    return conceal_pixels(see, radiographs)


def mine_pairs(
    network: LocalizationNetwork,
    see: See,
    radiographs: Tensor,
    features: Tensor,
    maps: Tensor,
    pairs: Tensor,
    recipe: MiningRecipe,
) -> list[Step]:
    """The steps of one disease in one radiograph each; none without a pair.

    Args:
        network: in training.
        see: `network.features`, or that of quarters, as the unhidden pass saw.
        radiographs: float `[batch, 1, height, width]`.
        features: their aggregated maps.
        maps: the evidence of the unhidden pass, `[batch, diseases, rows, columns]`.
        pairs: long `[pairs, 2]`, radiograph and disease.
        recipe: what is hidden and how.
    """
    if len(pairs) == 0:
        return []
    rows, diseases = pairs.T
    seen = features[rows]
    hide = conceal(see, radiographs[rows], seen, recipe)
    first = maps[rows, diseases]
    return mine(network, seen, first, diseases, hide, lambda z: z < recipe.stop, recipe)


def draw_foils(labels: Tensor, pairs: Tensor) -> Tensor:
    """For each labelled disease a radiograph of the batch, at random, that does not have it.

    Args:
        labels: `[batch, diseases]`, 0 or 1.
        pairs: long `[pairs, 2]`, radiograph and disease of each label.

    Returns:
        Long `[foils, 2]`; fewer than pairs where all of the batch have a disease.
    """
    diseases = pairs[:, 1]
    without = 1 - labels[:, diseases].T
    some = without.any(dim=1)
    if not some.any():
        return pairs[:0]
    rows = torch.multinomial(without[some], 1)[:, 0]
    return torch.stack([rows, diseases[some]], dim=1)
