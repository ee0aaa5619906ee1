"""How a radiograph looks to the network: how typical it is, and which way it lies in the picture.

Both are measured on the aggregated map that the network computes anyway, averaged over three by
three parts of the picture. Typicality is a Mahalanobis distance (as Lee et al., NeurIPS 2018, take
it to find what a network was not trained on) to the radiographs of the training part, by the
covariance of a probabilistic principal component analysis (Tipping and Bishop 1999): along the
components each by its own variance, and across them by what they leave. Which way it lies is told
by a linear classifier that saw some of them turned and inverted. No label is used, and no picture
of anything else.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from localization.appearance import PRESENTATIONS
from training.augmentation import enlarge
from training.dataset import RadiographDataset
from training.network import LocalizationNetwork

PARTS = 3
"""The map is averaged over so many rows and columns: fewer do not tell up from down."""

COMPONENTS = 128
RADIOGRAPHS = 8000
"""Of the training part, at most, from which typicality is fitted."""
PRESENTED = 1024
"""Of those, how many the classifier sees in each of the other presentations."""
PENALTY = 1e-4
"""Of the classifier's squared weights."""
BATCH = 32


class Appearance(NamedTuple):
    """What is known of the training radiographs' maps, each averaged to `[values]`."""

    mean: NDArray[np.float32]
    """`[values]`."""
    deviation: NDArray[np.float32]
    """`[values]`."""
    components: NDArray[np.float32]
    """`[components, values]`, orthonormal."""
    spread: NDArray[np.float32]
    """`[components]`, the deviation along each."""
    remainder: float
    """The variance that the components leave, per value."""
    median: float
    """Of the distances."""
    weight: NDArray[np.float32]
    """`[presentations, components]`, of the classifier on what the components say."""
    bias: NDArray[np.float32]
    """`[presentations]`."""


def unfitted(width: int) -> Appearance:
    """In place of a fit where no gate is asked for: every radiograph is typical, and upright.

    Args:
        width: channels of the aggregated map.
    """
    values, presentations = width * PARTS**2, len(PRESENTATIONS)
    return Appearance(
        mean=np.zeros(values, np.float32),
        deviation=np.ones(values, np.float32),
        components=np.zeros((1, values), np.float32),
        spread=np.ones(1, np.float32),
        remainder=1.0,
        median=math.inf,
        weight=np.zeros((presentations, 1), np.float32),
        bias=np.zeros(presentations, np.float32),
    )


class AppearanceMeasure(nn.Module):
    """Typicality and presentation of aggregated maps."""

    def __init__(self, appearance: Appearance) -> None:
        super().__init__()
        self.median, self.remainder = appearance.median, appearance.remainder
        for name in ("mean", "deviation", "components", "spread", "weight", "bias"):
            self.register_buffer(name, torch.tensor(getattr(appearance, name)))

    def forward(self, radiographs: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Measure a batch.

        Args:
            radiographs: uint8 `[batch, 1, side, side]`.
            features: float `[batch, width, rows, columns]`, of `look_twice`.

        Returns:
            typicality `[batch]` in [0, 1], 1 for half of the training radiographs; the
            probabilities `[batch, 4]` of `localization.appearance.PRESENTATIONS`; and the tones
            `[batch, 2]`: deviation in levels, and share of pixels at the darkest or brightest.
        """
        values = (averages(features) - self.mean) / self.deviation
        along = values @ self.components.T
        distance = _distance(values, along, self.spread, self.remainder)
        typicality = (self.median / distance.clamp(min=1e-6)).clamp(max=1)
        scores = (along / self.spread) @ self.weight.T + self.bias
        return typicality, scores.softmax(dim=1), _tones(radiographs.flatten(1).float())


def _tones(levels: Tensor) -> Tensor:
    lost = (levels == 0) | (levels == 255)
    deviation = (levels - levels.mean(dim=1, keepdim=True)).square().mean(dim=1).sqrt()
    return torch.stack([deviation, lost.float().mean(dim=1)], dim=1)


def _distance(values: Tensor, along: Tensor, spread: Tensor, remainder: float) -> Tensor:
    """Squared, `[batch]`."""
    return _left(values, along) / remainder + (along / spread).square().sum(dim=1)


def _left(values: Tensor, along: Tensor) -> Tensor:
    """What the components do not say, squared: `[batch]`."""
    return values.square().sum(dim=1) - along.square().sum(dim=1)


def averages(features: Tensor) -> Tensor:
    """The map's averages over `PARTS` by `PARTS` of the picture: `[batch, width * PARTS ** 2]`."""
    rows, columns = (_averaging(cells).to(features) for cells in features.shape[-2:])
    return (rows @ features @ columns.T).flatten(1)


def _averaging(cells: int) -> Tensor:
    """`[PARTS, cells]`: each part's weights of the cells, by how much of each it covers."""
    edges = np.linspace(0, cells, PARTS + 1)
    starts = np.arange(cells)
    covered = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    weights = covered.clip(min=0) * PARTS / cells
    return torch.tensor(weights, dtype=torch.float32)


def fit_appearance(
    network: LocalizationNetwork, side: int, dataset: RadiographDataset
) -> Appearance:
    """Learn how the radiographs of a part look to a network.

    Args:
        network: trained.
        side: of its input, in pixels.
        dataset: the training part.
    """
    pixels = np.asarray(dataset.pixels[fitted_on(dataset)])
    upright = _see(network, side, pixels)
    mean, deviation = upright.mean(axis=0), upright.std(axis=0) + 1e-6
    values = (upright - mean) / deviation
    _, sizes, components = np.linalg.svd(values, full_matrices=False)
    count = min(COMPONENTS, min(values.shape) // 2)
    components, spread = components[:count], sizes[:count] / np.float32(len(values) ** 0.5)
    along = values @ components.T
    known = [torch.tensor(each) for each in (values, along)]
    remainder = max(float(_left(*known).mean()) / (values.shape[1] - count), 1e-6)
    median = float(_distance(*known, torch.tensor(spread), remainder).median())
    others = [
        ((_see(network, side, each) - mean) / deviation) @ components.T
        for each in _presentations(pixels[spread_over(np.arange(len(pixels)), PRESENTED)])
    ]
    weight, bias = _classify([along / spread, *(each / spread for each in others)])
    return Appearance(mean, deviation, components, spread, remainder, median, weight, bias)


def _presentations(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Radiographs `[radiographs, side, side]` in each other presentation."""
    on_side = np.concatenate([np.rot90(pixels[::2], 1, (1, 2)), np.rot90(pixels[1::2], 3, (1, 2))])
    return [on_side, pixels[:, ::-1, ::-1], 255 - pixels]


@torch.inference_mode()
def _see(network: LocalizationNetwork, side: int, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    seen = []
    for start in range(0, len(pixels), BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(pixels[start : start + BATCH]))[:, None]
        seen.append(averages(network.look_twice(enlarge(batch, side))[2]))
    return torch.cat(seen).numpy()


def _classify(
    groups: list[NDArray[np.float32]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Multinomial logistic regression, each group of `[radiographs, components]` counting alike."""
    inputs = np.concatenate(groups).astype(np.float64)
    truth = np.concatenate([np.full(len(group), k) for k, group in enumerate(groups)])
    share = np.concatenate([np.full(len(group), 1 / len(group)) for group in groups]) / len(groups)
    shape = len(groups), inputs.shape[1] + 1
    inputs = np.hstack([inputs, np.ones((len(inputs), 1))])

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(shape)
        scores = inputs @ weights.T
        told = log_softmax(scores, axis=1)[np.arange(len(truth)), truth]
        slope = softmax(scores, axis=1)
        slope[np.arange(len(truth)), truth] -= 1
        penalised = np.hstack([weights[:, :-1], np.zeros((shape[0], 1))])
        gradient = (slope * share[:, None]).T @ inputs + 2 * PENALTY * penalised
        return -float(share @ told) + PENALTY * float((penalised**2).sum()), gradient.ravel()

    found = minimize(loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B")
    weights = found.x.reshape(shape).astype(np.float32)
    return weights[:, :-1], weights[:, -1]


def spread_over(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """So many of some rows, spread evenly over them."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]


def fitted_on(dataset: RadiographDataset) -> NDArray[np.int64]:
    """The rows of the training part from which typicality is fitted."""
    return spread_over(np.arange(len(dataset)), RADIOGRAPHS)
