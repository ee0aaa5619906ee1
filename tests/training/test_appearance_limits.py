"""The gate's limits: what they are chosen by, and whom they must not turn away."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.appearance import RADIOGRAPHS, fitted_on
from training.appearance_limits import HELD_OUT, choose_limits, held_out, lowest_allowed


class Part:
    """In the place of a data set: pictures of one pixel, whose level says how typical they are."""

    def __init__(self, levels: NDArray[np.uint8], sick: NDArray[np.bool_]) -> None:
        self.pixels = levels[:, None, None]
        self.labels: Tensor = torch.tensor(sick[:, None], dtype=torch.float32)

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass
class Measured:
    typicality: NDArray[np.float32]
    presentation: NDArray[np.float32]


class Level:
    """In the place of a localizer."""

    def infer(self, pixels: NDArray[np.uint8]) -> Measured:
        typicality = pixels[:, 0, 0, 0].astype(np.float32) / 255
        return Measured(typicality, np.tile([[1, 0, 0, 0]], (len(pixels), 1)).astype(np.float32))


def part(count: int, seed: int, *, sick: float) -> Part:
    """Those without a finding have levels from 100 on, those with one from 50 on."""
    random = np.random.default_rng(seed)
    ill = random.random(count) < sick
    levels = 50 + 205 * random.random(count) ** 0.5
    return Part(np.where(ill, levels, 100).astype(np.uint8), ill)


def test_what_limits_are_chosen_by_was_not_fitted_on() -> None:
    training = part(RADIOGRAPHS + 3 * HELD_OUT, 0, sick=0.5)
    chosen = held_out(training)  # type: ignore[arg-type]
    assert len(chosen) == HELD_OUT
    assert not np.intersect1d(chosen, fitted_on(training)).size  # type: ignore[arg-type]


def test_those_with_a_finding_are_refused_no_more_than_few() -> None:
    training, validation = part(16_000, 1, sick=0.3), part(1400, 2, sick=0.3)
    limits = choose_limits(Level(), training, validation)  # type: ignore[arg-type]
    levels = np.concatenate([validation.pixels, training.pixels[held_out(training)]])  # type: ignore[arg-type]
    ill = np.concatenate([validation.labels, training.labels[held_out(training)]])[:, 0] > 0  # type: ignore[arg-type]
    below = levels.ravel() / 255 < limits.refused
    assert 0 < below[ill].mean() <= 0.005
    assert limits.refused < limits.doubtful < 100 / 255
    assert limits.presentation == 0.5


def test_nobody_is_refused_where_nobody_with_a_finding_is_known() -> None:
    training, validation = part(16_000, 1, sick=0), part(1400, 2, sick=0)
    assert choose_limits(Level(), training, validation).refused == 0  # type: ignore[arg-type]


def test_no_more_are_refused_than_can_be_trusted_to_be_few() -> None:
    """By Clopper and Pearson, 2 of 1,384 may be below; 3 of 1,384 might be more than 0.5 %."""
    typicality = np.random.default_rng(0).permutation(np.arange(1384) / 1384).astype(np.float32)
    limit = lowest_allowed(typicality)
    assert int((typicality < limit).sum()) == 2
    assert lowest_allowed(typicality[:100]) == pytest.approx(0.0)
