"""The mechanics of attention mining and knowledge preservation."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from localization import DISEASES
from training.mining import (
    Step,
    conceal,
    conceal_cells,
    conceal_pixels,
    mine,
    mine_pairs,
    salience,
)
from training.network import LocalizationNetwork
from training.preservation import KnowledgePreservation
from training.recipe import MiningRecipe, PreservationRecipe, Recipe


@pytest.fixture
def network(tiny_recipe: Recipe) -> LocalizationNetwork:
    """Untaught, in evaluation mode, with a spatial context that does something."""
    torch.manual_seed(0)
    network = LocalizationNetwork(tiny_recipe.network.model_copy(update={"context": 3}))
    torch.nn.init.normal_(network.context.mix.weight, std=0.5)
    torch.nn.init.normal_(network.head.weight, std=0.5)
    return network.eval()


@pytest.fixture
def radiographs() -> Tensor:
    return torch.rand(3, 1, 96, 96, generator=torch.Generator().manual_seed(1))


def never(logits: Tensor) -> Tensor:
    return torch.zeros_like(logits, dtype=torch.bool)


def mined(
    network: LocalizationNetwork, radiographs: Tensor, recipe: MiningRecipe
) -> tuple[list[Step], Tensor]:
    """One disease of each radiograph, by hiding cells."""
    features = network.features(radiographs).detach().requires_grad_()
    diseases = torch.tensor([2, 5, 11])
    first = network.evidence(features)[torch.arange(3), diseases]
    hide = conceal_cells(features)
    return mine(network, features, first, diseases, hide, never, recipe), features


@pytest.mark.parametrize("step", [1, 2])
def test_a_hidden_region_has_no_influence(
    network: LocalizationNetwork, radiographs: Tensor, step: int
) -> None:
    steps, features = mined(network, radiographs, MiningRecipe(threshold=0.5, steps=2))
    (gradient,) = torch.autograd.grad(steps[step].logits.sum(), features)
    hidden = (steps[step].visible == 0)[:, None].expand_as(gradient)
    assert bool(hidden.any())
    assert torch.equal(gradient[hidden], torch.zeros(int(hidden.sum())))
    assert gradient[~hidden].abs().sum().item() > 0


def test_hidden_pixels_have_no_influence(network: LocalizationNetwork, radiographs: Tensor) -> None:
    """Whatever stands under a hidden region, the network sees the same."""
    visible = torch.ones(3, 6, 6)
    visible[:, 2:4, 1:3] = 0
    changed = radiographs.clone()
    # The fill is the mean, so what stands there is turned around, not made brighter.
    changed[..., 32:64, 16:48] = radiographs[..., 32:64, 16:48].flip(-1, -2)
    looks = [conceal_pixels(network.features, each) for each in (radiographs, changed)]
    hidden = [look(visible) for look in looks]
    assert torch.allclose(hidden[0], hidden[1], atol=1e-5)
    whole = [look(torch.ones(3, 6, 6)) for look in looks]
    assert not torch.allclose(whole[0], whole[1], atol=1e-5)


def test_what_is_hidden_accumulates_and_is_the_most_salient(
    network: LocalizationNetwork, radiographs: Tensor
) -> None:
    steps, _ = mined(network, radiographs, MiningRecipe(threshold=0.7, steps=3))
    for before, after in pairwise(steps):
        found = before.visible - after.visible
        assert set(found.unique().tolist()) <= {0.0, 1.0}
        assert bool((found.sum(dim=(1, 2)) >= 1).all())
        left = torch.where(after.visible > 0, before.maps, -torch.inf).amax(dim=(1, 2))
        taken = torch.where(found > 0, before.maps, torch.inf).amin(dim=(1, 2))
        assert bool((taken > left).all())


def test_a_soft_mask_hides_gradually(network: LocalizationNetwork, radiographs: Tensor) -> None:
    maps = network(radiographs)[1][:, 0]
    hidden = salience(maps, torch.ones_like(maps), MiningRecipe(mask="soft", slope=5.0))
    assert bool(((hidden > 0) & (hidden < 1)).all())
    order = maps.flatten(1).argsort(dim=1)
    assert bool((hidden.flatten(1).gather(1, order).diff(dim=1) >= 0).all())


def test_mining_stays_ended_where_the_disease_was_gone(
    network: LocalizationNetwork, radiographs: Tensor
) -> None:
    """The second look says that it is gone; what the third says no longer counts."""
    features = network.features(radiographs)
    diseases = torch.tensor([2, 5, 11])
    first = network.evidence(features)[torch.arange(3), diseases]
    verdicts = iter([torch.tensor([False, True, False]), torch.tensor([False, False, True])])
    steps = mine(
        network,
        features,
        first,
        diseases,
        conceal_cells(features),
        lambda logits: next(verdicts),
        MiningRecipe(steps=2),
    )
    assert [step.active.tolist() for step in steps] == [[1, 1, 1], [1, 0, 1], [1, 0, 0]]


def test_a_disease_without_a_label_is_never_mined(
    network: LocalizationNetwork, radiographs: Tensor
) -> None:
    labels = torch.zeros(3, len(DISEASES))
    labels[0, 4] = labels[2, 4] = labels[2, 9] = 1
    features = network.features(radiographs)
    maps = network.evidence(features)
    pairs = labels.nonzero()
    steps = mine_pairs(
        network, network.features, radiographs, features, maps, pairs, MiningRecipe()
    )
    assert all(len(step.maps) == 3 for step in steps)
    assert torch.equal(steps[0].maps, torch.stack([maps[0, 4], maps[2, 4], maps[2, 9]]))


def test_an_unchanged_network_has_nothing_to_preserve(
    network: LocalizationNetwork, radiographs: Tensor
) -> None:
    preservation = KnowledgePreservation(network, PreservationRecipe())
    for quarters in (False, True):
        look = network.features_of_quarters if quarters else network.features
        maps = network.evidence(look(radiographs))
        known = preservation.respond(radiographs, quarters=quarters)
        assert preservation(network.pool(maps), maps, known).item() == 0.0


def test_preservation_pulls_a_network_back(
    network: LocalizationNetwork, radiographs: Tensor
) -> None:
    preservation = KnowledgePreservation(network.train(), PreservationRecipe())
    network.eval()
    kept = network.head.bias.detach().clone()
    with torch.no_grad():
        network.head.bias += 1.0
    logits, maps = network(radiographs)
    preservation(logits, maps, preservation.respond(radiographs)).backward()
    assert bool((network.head.bias.grad > 0).all())  # Downhill is the way it came.
    assert torch.equal(preservation.original.head.bias, kept)
    assert not any(p.requires_grad for p in preservation.original.parameters())


@pytest.mark.parametrize("where", ["features", "image"])
def test_what_was_not_hidden_is_preserved_where_something_was(
    where: str, network: LocalizationNetwork, radiographs: Tensor
) -> None:
    recipe = MiningRecipe(where=where, steps=1)
    preservation = KnowledgePreservation(network, PreservationRecipe(hidden=1.0))
    known = preservation.respond(radiographs)
    diseases = torch.tensor([2, 5, 11])
    pairs = torch.stack([torch.arange(3), diseases], dim=1)

    def loss() -> Tensor:
        features = network.features(radiographs)
        maps = network.evidence(features)
        steps = mine_pairs(network, network.features, radiographs, features, maps, pairs, recipe)
        hide = conceal(preservation.see(quarters=False), radiographs, known.features, recipe)
        return preservation.of_hidden(network, steps, diseases, hide)

    assert loss().item() == pytest.approx(0.0, abs=1e-10)
    with torch.no_grad():
        network.head.bias[3] += 1.0
    # One disease of the thirteen that are not hidden is wrong by 1 in each radiograph.
    assert loss().item() == pytest.approx(1 / 13, rel=1e-3)


def test_companions_are_asked_too(network: LocalizationNetwork, radiographs: Tensor) -> None:
    torch.manual_seed(1)
    companion = LocalizationNetwork(network.recipe)
    torch.nn.init.normal_(companion.head.weight, std=0.5)
    preservation = KnowledgePreservation(network, PreservationRecipe(), [companion])
    logits = [each.eval()(radiographs)[0] for each in (network, companion)]
    assert torch.allclose(preservation.respond(radiographs).logits, (logits[0] + logits[1]) / 2)


def test_preservation_without_an_original_is_refused(tiny_recipe: Recipe) -> None:
    values = tiny_recipe.model_dump() | {"preservation": {}}
    with pytest.raises(ValueError, match="start"):
        Recipe.model_validate(values)
