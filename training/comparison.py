"""Two methods on the same radiographs: by how much one is better, and how sure that is.

Patients are drawn with replacement, both methods scored on the same draw (the paired bootstrap of
Efron 1979), because boxes and radiographs of one patient are not independent of each other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.free_response import AFP, Detections, accuracies
from training.protocol import (
    FREE_RESPONSE_IOU,
    LOCALIZED,
    Shown,
    Target,
    detections,
    inside,
    overlap,
)

DRAWS = 1000


@dataclass(frozen=True)
class Difference:
    """Of one figure between two methods."""

    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float


@dataclass(frozen=True)
class _Boxes:
    """Figures of single true boxes, and the detections of each disease."""

    patients: NDArray[np.int64]
    hits: NDArray[np.float64]
    overlaps: NDArray[np.float64]
    by_disease: dict[float, list[Detections]]

    def figures(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """In the order of `NAMES`, with every patient as often as it was drawn."""
        own = weights[self.patients]
        curves = [
            np.mean([accuracies(each, weights) for each in diseases], axis=0)
            for diseases in self.by_disease.values()
        ]
        return np.array(
            [
                (own * self.hits).sum() / own.sum(),
                (own * self.overlaps).sum() / own.sum(),
                *(value for curve in curves for value in (*curve, curve.mean())),
            ]
        )


NAMES = (
    "pointing game",
    "mean IoU",
    *(
        f"Acc at T(IoU) {threshold}, {at}"
        for threshold in FREE_RESPONSE_IOU
        for at in (*(f"AFP {afp}" for afp in AFP), "mean of the AFPs")
    ),
)
"""The figures that are compared: the first two over all boxes, the others means over diseases."""


def figures(targets: list[Target], shown: list[Shown]) -> dict[str, float]:
    """The compared figures of one method; `shown` per target."""
    [boxes], patients = _number([shown], targets)
    return dict(zip(NAMES, boxes.figures(np.ones(patients)).tolist(), strict=True))


def compare(
    targets: list[Target], shown: list[Shown], baseline: list[Shown], seed: int = 0
) -> dict[str, Difference]:
    """How much better a method is than a baseline, with 95 % intervals over patients."""
    (ours, theirs), patients = _number([shown, baseline], targets)
    found = _bootstrap(
        lambda weights: ours.figures(weights) - theirs.figures(weights), patients, seed
    )
    return dict(zip(NAMES, found, strict=True))


def compare_areas(
    patients: NDArray[np.int64],
    labels: NDArray[np.bool_],
    scores: NDArray[np.float32],
    baseline: NDArray[np.float32],
    seed: int = 0,
) -> Difference:
    """How much larger a method's mean AUC is than a baseline's, with a 95 % interval over patients.

    Args:
        patients: `[radiographs]`, whose each one is.
        labels: `[radiographs, diseases]`; a disease without positives is not in the mean.
        scores: of the method, of the same shape.
        baseline: scores of the other method.
        seed: of the draws.
    """
    known, numbers = np.unique(patients, return_inverse=True)
    columns = [
        (truth, *(np.unique(column, return_inverse=True)[1] for column in both))
        for truth, *both in zip(labels.T, scores.T, baseline.T, strict=True)
        if 0 < truth.sum() < len(truth)
    ]

    def difference(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        own = weights[numbers]
        gains = [
            _area(ours, truth, own) - _area(theirs, truth, own) for truth, ours, theirs in columns
        ]
        return np.array([np.nanmean(gains)])

    return _bootstrap(difference, len(known), seed)[0]


def _area(
    ranks: NDArray[np.int64], truth: NDArray[np.bool_], weights: NDArray[np.float64]
) -> float:
    """The weighted area under the ROC curve; NaN where no positive or no negative was drawn."""
    positive = np.bincount(ranks, weights * truth)
    negative = np.bincount(ranks, weights * ~truth)
    # A tie counts half.
    beaten = negative.cumsum() - negative / 2
    pairs = positive.sum() * negative.sum()
    return float((positive * beaten).sum() / pairs) if pairs else float("nan")


def _bootstrap(
    difference: Callable[[NDArray[np.float64]], NDArray[np.float64]], patients: int, seed: int
) -> list[Difference]:
    """Differences `[figures]` by the weights `[patients]`, with their intervals."""
    random = np.random.default_rng(seed)
    value = difference(np.ones(patients))
    drawn = [
        difference(np.bincount(random.integers(patients, size=patients), minlength=patients) * 1.0)
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return [
        Difference(*row) for row in zip(value.tolist(), low.tolist(), high.tolist(), strict=True)
    ]


def _number(methods: list[list[Shown]], targets: list[Target]) -> tuple[list[_Boxes], int]:
    """The boxes of each method with patients counted from 0, and how many patients there are."""
    known, numbers = np.unique([target.patient for target in targets], return_inverse=True)
    numbered = [
        Target(target.stem, int(number), target.disease, target.boxes)
        for target, number in zip(targets, numbers, strict=True)
    ]
    return [_boxes(numbered, shown) for shown in methods], len(known)


def _boxes(targets: list[Target], shown: list[Shown]) -> _Boxes:
    pairs = list(zip(targets, shown, strict=True))
    by_name = [
        [pair for pair in pairs if pair[0].disease == disease]
        for disease in LOCALIZED
        if any(target.disease == disease for target in targets)
    ]
    return _Boxes(
        np.array([target.patient for target, _ in pairs for _ in target.boxes]),
        np.array([inside(each.peak, box) for target, each in pairs for box in target.boxes]) * 1.0,
        np.concatenate(
            [overlap(each.boxes, t.boxes)[0].max(axis=0, initial=0) for t, each in pairs]
        ),
        {
            threshold: [
                detections([t for t, _ in chosen], [s for _, s in chosen], threshold)
                for chosen in by_name
            ]
            for threshold in FREE_RESPONSE_IOU
        },
    )
