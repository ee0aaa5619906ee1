"""How a radiograph looks to the network: how typical it is, and which way it lies in the picture.

Both are measured on the aggregated map that the network computes anyway, averaged over three by
three parts of the picture. Typicality is a Mahalanobis distance (as Lee et al., NeurIPS 2018, take
it to find what a network was not trained on) to the radiographs of the training part: along their
principal components each by its own variance, and across them by what the components leave. Which
way it lies is told by a linear classifier that saw the same radiographs turned and inverted. No
label is used, and no picture of anything else.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from scipy.stats import beta
from torch import Tensor, nn

from localization import Localizer
from localization.appearance import AppearanceLimits
from training.augmentation import enlarge
from training.dataset import RadiographDataset
from training.network import LocalizationNetwork

PARTS = 3
"""The map is averaged over so many rows and columns: fewer do not tell up from down."""

COMPONENTS = 128
RADIOGRAPHS = 2048
"""Of the training part, from which all is fitted."""
HELD_OUT = 4096
"""Of the training part's others, by which limits are chosen beside the validation part: how far
the rarest half per cent of radiographs are from the rest, that part alone is too small to say."""
PENALTY = 1e-4
"""Of the classifier's squared weights."""
BATCH = 32

REFUSED_SHARE, CONFIDENCE = 0.005, 0.95
DOUBTFUL_SHARE, TURNED_SHARE = 0.01, 0.0025
RULE = (
    f"by the validation part and {HELD_OUT} radiographs of the training part that typicality was "
    f"not fitted on, no more than {REFUSED_SHARE:.1%} are refused as atypical (upper "
    f"{CONFIDENCE:.0%} confidence limit, Clopper and Pearson 1934); of them, {DOUBTFUL_SHARE:.0%} "
    f"are refused or doubted, and at most {TURNED_SHARE:.2%} said to be turned or inverted"
)


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
    median: float
    """Of the distances."""
    weight: NDArray[np.float32]
    """`[presentations, components]`, of the classifier on what the components say."""
    bias: NDArray[np.float32]
    """`[presentations]`."""


class AppearanceMeasure(nn.Module):
    """Typicality and presentation of aggregated maps."""

    def __init__(self, appearance: Appearance) -> None:
        super().__init__()
        self.median = appearance.median
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
        distance = _distance(values, along, self.spread)
        typicality = (self.median / distance.clamp(min=1e-6)).clamp(max=1)
        scores = (along / self.spread) @ self.weight.T + self.bias
        return typicality, scores.softmax(dim=1), _tones(radiographs.flatten(1).float())


def _tones(levels: Tensor) -> Tensor:
    lost = (levels == 0) | (levels == 255)
    deviation = (levels - levels.mean(dim=1, keepdim=True)).square().mean(dim=1).sqrt()
    return torch.stack([deviation, lost.float().mean(dim=1)], dim=1)


def _distance(values: Tensor, along: Tensor, spread: Tensor) -> Tensor:
    left = values.square().sum(dim=1) - along.square().sum(dim=1)
    known, all_values = along.shape[1], values.shape[1]
    return (along / spread).square().sum(dim=1) / known + left / (all_values - known)


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
    pixels = np.asarray(dataset.pixels[_spread(np.arange(len(dataset)), RADIOGRAPHS)])
    upright = _see(network, side, pixels)
    mean, deviation = upright.mean(axis=0), upright.std(axis=0) + 1e-6
    values = (upright - mean) / deviation
    _, sizes, components = np.linalg.svd(values, full_matrices=False)
    count = min(COMPONENTS, min(values.shape) // 2)
    components, spread = components[:count], sizes[:count] / np.float32(len(values) ** 0.5)
    along = values @ components.T
    distances = _distance(*(torch.tensor(each) for each in (values, along, spread)))
    others = [
        ((_see(network, side, each) - mean) / deviation) @ components.T
        for each in _presentations(pixels)
    ]
    weight, bias = _classify([along / spread, *(each / spread for each in others)])
    return Appearance(mean, deviation, components, spread, float(distances.median()), weight, bias)


def _presentations(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """A part of the radiographs `[radiographs, side, side]` in each other presentation."""
    half = pixels[::2]
    on_side = np.concatenate([np.rot90(half[::2], 1, (1, 2)), np.rot90(half[1::2], 3, (1, 2))])
    return [on_side, half[:, ::-1, ::-1], 255 - half]


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


def _spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """So many of some rows, spread evenly over them."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]


def held_out(training: RadiographDataset) -> NDArray[np.uint8]:
    """Radiographs of the training part that nothing here was fitted on, uint8 `[*, side, side]`."""
    rows = np.arange(len(training))
    others = np.setdiff1d(rows, _spread(rows, RADIOGRAPHS))
    return np.asarray(training.pixels[_spread(others, HELD_OUT)])


def choose_limits(
    localizer: Localizer, training: RadiographDataset, validation: RadiographDataset
) -> AppearanceLimits:
    """The limits by `RULE`, of the graph that serves.

    Args:
        localizer: of that graph.
        training: the part that `fit_appearance` was given.
        validation: the validation part.
    """
    pixels = np.concatenate([np.asarray(validation.pixels), held_out(training)])
    measured = [
        localizer.infer(pixels[start : start + BATCH][:, None])
        for start in range(0, len(pixels), BATCH)
    ]
    typicality = np.concatenate([each.typicality for each in measured])
    turned = np.concatenate([each.presentation for each in measured])[:, 1:].max(axis=1)
    return AppearanceLimits(
        refused=lowest_allowed(typicality),
        doubtful=_rounded(typicality, DOUBTFUL_SHARE),
        # Less than half, and another presentation may be the likelier one.
        presentation=max(0.5, _rounded(turned, 1 - TURNED_SHARE)),
    )


def lowest_allowed(typicality: NDArray[np.float32]) -> float:
    """The typicality below which a radiograph is refused; 0, none, where too few are known.

    Args:
        typicality: `[radiographs]`, of frontal chest radiographs.
    """
    count = len(typicality)
    refused = np.arange(count)
    upper = beta.ppf(CONFIDENCE, refused + 1, count - refused)
    allowed = int(np.count_nonzero(upper <= REFUSED_SHARE)) - 1
    if allowed < 0:
        return 0.0
    return math.floor(1e4 * float(np.sort(typicality)[allowed])) / 1e4


def _rounded(values: NDArray[np.float32], share: float) -> float:
    return round(float(np.quantile(values, share)), 4)
