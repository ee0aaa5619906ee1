"""What the served network says of each mining step."""

import numpy as np
import pytest
import torch
from appearance_helpers import any_appearance
from torch import Tensor

from localization import DISEASES
from training.augmentation import enlarge
from training.calibration import Calibration
from training.heat import HeatMaps, HeatSetting, fit_heat
from training.network import LocalizationNetwork
from training.recipe import MiningRecipe, Recipe
from training.served import ServedNetwork

COUNT, SIDE = len(DISEASES), 96


@pytest.fixture
def radiographs() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8, generator=generator)


@pytest.fixture
def network(tiny_recipe: Recipe) -> LocalizationNetwork:
    torch.manual_seed(0)
    network = LocalizationNetwork(tiny_recipe.network.model_copy(update={"context": 3}))
    torch.nn.init.normal_(network.context.mix.weight, std=0.5)
    torch.nn.init.normal_(network.head.weight, std=0.5)
    return network.eval()


def serve(
    network: LocalizationNetwork, radiographs: Tensor, threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs of two mining steps, every disease with this operating point."""
    maps = network.look_twice(enlarge(radiographs, SIDE))[1]
    labels = np.eye(len(maps), COUNT, dtype=bool)
    # Twice: the coldest cell too is to be warmer than nothing.
    known = np.concatenate([maps.numpy(), maps.numpy() - 1])
    setting = HeatSetting(shared=0.5, location=0.5, contrast=2.0)
    heat = HeatMaps(fit_heat(known, np.concatenate([labels, labels]), setting))
    calibration = Calibration(np.ones(COUNT), np.zeros(COUNT), np.full(COUNT, threshold))
    recipe = MiningRecipe(threshold=0.7, steps=2)
    look = any_appearance(network)
    probabilities, heatmaps, steps, *_ = ServedNetwork(
        network, SIDE, calibration, heat, look, recipe
    )(radiographs)
    return probabilities, heatmaps, steps


@torch.inference_mode()
def test_each_step_adds_a_region_of_its_own(
    network: LocalizationNetwork, radiographs: Tensor
) -> None:
    _, heatmaps, steps = serve(network, radiographs, threshold=0.0)
    assert steps.shape[1] == 3
    added = steps > 0
    found = added.flatten(3).any(dim=-1)
    assert bool(found[:, 0].all())
    assert bool(found[:, 1].any(dim=0).sum() > COUNT / 2), "hardly anything is mined"
    assert int(added.sum(dim=1).max()) == 1, "two steps claim one cell"
    # No step is hotter than the fused map.
    assert bool((steps.amax(dim=1) <= heatmaps).all())


@torch.inference_mode()
def test_a_disease_that_is_not_found_is_not_mined(
    network: LocalizationNetwork, radiographs: Tensor
) -> None:
    _, _, steps = serve(network, radiographs, threshold=1.0)
    assert bool((steps[:, 0].amax(dim=(2, 3)) > 0).all())
    assert torch.equal(steps[:, 1:], torch.zeros_like(steps[:, 1:]))
