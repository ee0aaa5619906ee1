"""Typicality, presentation and tones, on pictures whose top is bright."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from localization.appearance import PRESENTATIONS
from training.appearance import (
    AppearanceMeasure,
    averages,
    fit_appearance,
    unfitted,
)

SIDE = 24


class Brightness:
    """In the place of a network: its map is the picture, its mirror image averaged in."""

    def look_twice(self, radiographs: Tensor) -> tuple[None, None, Tensor]:
        both = torch.stack([radiographs, radiographs.flip(-1)]).mean(dim=0)
        cells = F.avg_pool2d(both, 4)
        return None, None, torch.cat([cells, cells.square(), cells.sqrt()], dim=1)


class Pictures:
    """In the place of a data set."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)


def pictures(count: int, seed: int) -> NDArray[np.uint8]:
    """A bright top third over a dark rest, each picture a little otherwise."""
    random = np.random.default_rng(seed)
    levels = np.where(np.arange(SIDE) < SIDE // 3, 220, 60)[None, :, None]
    noise = random.normal(0, 10, (count, SIDE, SIDE)) + random.uniform(-8, 8, (count, 1, 1))
    return np.clip(levels + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def measure() -> AppearanceMeasure:
    return AppearanceMeasure(fit_appearance(Brightness(), SIDE, Pictures(pictures(400, 0))))  # type: ignore[arg-type]


def look(measure: AppearanceMeasure, pixels: NDArray[np.uint8]) -> tuple[Tensor, Tensor, Tensor]:
    batch = torch.from_numpy(np.ascontiguousarray(pixels))[:, None]
    return measure(batch, Brightness().look_twice(batch.float() / 255)[2])


def test_half_of_what_it_learned_from_is_wholly_typical_and_other_pictures_are_not(
    measure: AppearanceMeasure,
) -> None:
    learned = look(measure, pictures(400, 0))[0]
    assert 0.45 < float((learned == 1).float().mean()) < 0.55
    unseen = look(measure, pictures(200, 1))[0]
    usual = float(unseen.quantile(0.02))
    noise = np.random.default_rng(2).integers(0, 256, (50, SIDE, SIDE), np.uint8)
    flat = np.full((1, SIDE, SIDE), 120, np.uint8)
    assert float(look(measure, noise)[0].max()) < usual
    assert float(look(measure, flat)[0].max()) < usual


@pytest.mark.parametrize("width", [3, 320])
def test_what_was_not_fitted_says_nothing(width: int) -> None:
    radiographs = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.uint8)
    measure = AppearanceMeasure(unfitted(width))
    typicality, presentation, _ = measure(radiographs, torch.rand(2, width, 6, 6))
    assert typicality.tolist() == [1, 1]
    assert torch.allclose(presentation, torch.full((2, 4), 0.25))


def test_which_way_a_picture_lies_is_told(measure: AppearanceMeasure) -> None:
    upright = pictures(100, 3)
    turned = {
        "as learned": upright,
        "on its side": np.rot90(upright, 1, (1, 2)),
        "upside down": upright[:, ::-1, ::-1],
        "inverted": 255 - upright,
    }
    for name, pixels in turned.items():
        probabilities = look(measure, pixels)[1]
        assert torch.allclose(probabilities.sum(dim=1), torch.ones(len(pixels)), atol=1e-5)
        # A slope that is turned upside down is a slope that is inverted, but for its levels.
        told = float((probabilities.argmax(dim=1) == PRESENTATIONS.index(name)).float().mean())
        assert told > 0.9, name


def test_tones_are_the_deviation_and_the_share_at_either_end(measure: AppearanceMeasure) -> None:
    pixels = np.full((1, SIDE, SIDE), 100, np.uint8)
    pixels[0, :6] = 0
    pixels[0, 6:9] = 255
    deviation, lost = look(measure, pixels)[2][0].tolist()
    assert deviation == pytest.approx(pixels.std(), rel=1e-5)
    assert lost == pytest.approx(9 / 24)


@pytest.mark.parametrize("cells", [3, 4, 7, 12])
def test_averages_are_those_of_nine_parts_of_any_map(cells: int) -> None:
    features = torch.rand(2, 5, cells, cells + 1)
    fine = F.interpolate(features, size=(3 * cells, 3 * (cells + 1)), mode="nearest")
    expected = F.adaptive_avg_pool2d(fine, 3).flatten(1)
    assert torch.allclose(averages(features), expected, atol=1e-5)
