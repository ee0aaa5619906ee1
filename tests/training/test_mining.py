"""The mechanics of attention mining and knowledge preservation."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from localization import DISEASES
from training.dataset import Batch
from training.mining import (
    Step,
    conceal,
    conceal_cells,
    conceal_pixels,
    draw_foils,
    mine,
    mine_pairs,
    salience,
)
from training.module import LocalizationModule
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


def test_without_a_pair_nothing_is_mined(network: LocalizationNetwork, radiographs: Tensor) -> None:
    features = network.features(radiographs)
    maps = network.evidence(features)
    none = torch.zeros(3, len(DISEASES)).nonzero()
    recipe = MiningRecipe()
    assert mine_pairs(network, network.features, radiographs, features, maps, none, recipe) == []


LABELS = torch.zeros(4, len(DISEASES))
"""Disease 2 in all radiographs, 4 in two of them, 9 in one, no other."""
LABELS[:, 2] = LABELS[0, 4] = LABELS[2, 4] = LABELS[2, 9] = 1


def test_a_foil_never_has_the_disease_and_each_disease_has_as_many_as_labels() -> None:
    pairs = LABELS.nonzero()
    drawn = set()
    for seed in range(50):
        torch.manual_seed(seed)
        foils = draw_foils(LABELS, pairs)
        assert foils.dtype == pairs.dtype
        assert LABELS[*foils.T].sum() == 0
        assert sorted(foils[:, 1].tolist()) == [4, 4, 9]
        drawn |= set(map(tuple, foils.tolist()))
    # By chance, so that each radiograph without a disease is one sometimes.
    assert drawn == {(1, 4), (3, 4), (0, 9), (1, 9), (3, 9)}


def test_a_disease_that_all_of_the_batch_have_has_no_foil() -> None:
    labels = LABELS * (torch.arange(len(DISEASES)) == 2)
    assert draw_foils(labels, labels.nonzero()).shape == (0, 2)


def test_without_a_pair_there_is_no_foil() -> None:
    labels = torch.zeros_like(LABELS)
    assert draw_foils(labels, labels.nonzero()).shape == (0, 2)


class Lesson:
    """One training step of the tiny network, with what it mined, and how what the hidden passes
    say moves the loss."""

    def __init__(
        self,
        recipe: Recipe,
        mining: MiningRecipe,
        labels: Tensor,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        torch.manual_seed(0)
        recipe = recipe.model_copy(update={"tiles": 0.0, "mining": mining})
        train = torch.eye(len(DISEASES))
        module = LocalizationModule(recipe, train, torch.zeros(len(train), dtype=torch.long))
        monkeypatch.setattr(module, "log", lambda *_, **__: None)  # There is no trainer to log to.
        self.asked: list[list[int]] | None = None
        self._logits: list[Tensor] = []

        def spy(*arguments: Any) -> list[Step]:
            steps = mine_pairs(*arguments)
            self.asked = arguments[5].tolist()
            for step in steps[1:]:
                step.logits.retain_grad()
                self._logits.append(step.logits)
            return steps

        monkeypatch.setattr("training.module.mine_pairs", spy)
        images = torch.randint(0, 256, (len(labels), 1, 64, 64), dtype=torch.uint8)
        batch = Batch(images, labels, torch.zeros(len(labels), dtype=torch.long))
        self.loss = module.training_step(batch, 0)
        self.loss.backward()

    @property
    def pulls(self) -> Tensor:
        """`[steps, pairs]`: 1 where a larger logit would be a larger loss, -1 where a smaller."""
        gradients = [logits.grad for logits in self._logits]
        return torch.stack([each for each in gradients if each is not None]).sign()


UNENDING = {"steps": 2, "stop": -100.0}


def test_without_foils_a_training_step_mines_the_labelled_pairs(
    tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = Lesson(tiny_recipe, MiningRecipe(**UNENDING), LABELS, monkeypatch)
    assert lesson.asked == LABELS.nonzero().tolist()
    # All are there, and the loss falls the more the hidden passes say so.
    assert lesson.pulls.tolist() == [[-1.0] * int(LABELS.sum())] * 2


def test_with_foils_a_training_step_mines_as_many_without_the_disease(
    tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = Lesson(tiny_recipe, MiningRecipe(**UNENDING, foils=True), LABELS, monkeypatch)
    assert lesson.asked is not None
    labelled = LABELS.nonzero().tolist()
    foils = lesson.asked[len(labelled) :]
    assert lesson.asked[: len(labelled)] == labelled
    assert sorted(disease for _, disease in foils) == [4, 4, 9]
    assert all(LABELS[row, disease] == 0 for row, disease in foils)
    # A hidden region is to mean neither yes nor no: a foil's loss falls as its logit does.
    assert lesson.pulls.tolist() == [[-1.0] * len(labelled) + [1.0] * len(foils)] * 2


@pytest.mark.parametrize("foils", [False, True])
def test_a_batch_without_a_disease_is_trained_on_without_mining(
    tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch, foils: bool
) -> None:
    healthy = torch.zeros_like(LABELS)
    lesson = Lesson(tiny_recipe, MiningRecipe(foils=foils), healthy, monkeypatch)
    assert lesson.asked == []
    assert lesson.loss.item() > 0


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
