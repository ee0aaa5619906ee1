"""The free-response curve: how many true boxes are found at how many false ones.

More boxes raise accuracy and false positives together, so two methods compare at equal numbers of
false ones. Boxes are ranked by their score, as a user who takes the best ones first would.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AFP = (0.125, 0.25, 0.5, 1.0)
"""False boxes per radiograph at which curves are compared."""


@dataclass(frozen=True)
class Detections:
    """Of one disease, by one method, at one overlap threshold."""

    radiographs: NDArray[np.int64]
    """Patient of each radiograph that holds the disease."""
    found: NDArray[np.float64]
    """Of each true box, the score of the best detected box that overlaps it enough; -inf: none."""
    found_patient: NDArray[np.int64]
    false: NDArray[np.float64]
    """Score of each detected box that overlaps no true box enough."""
    false_patient: NDArray[np.int64]


def accuracies(
    detections: Detections,
    weights: NDArray[np.float64] | None = None,
    afp: Sequence[float] = AFP,
) -> NDArray[np.float64]:
    """Share of the true boxes found at each number of false boxes per radiograph.

    Args:
        detections: of one disease.
        weights: of each patient, by its number; how often a bootstrap drew it.
        afp: false boxes per radiograph of the disease.
    """
    if weights is None:
        last = max(int(each.max(initial=0)) for each in _patients(detections))
        weights = np.ones(last + 1)
    true = weights[detections.found_patient]
    order = np.argsort(-detections.false, kind="stable")
    false = weights[detections.false_patient][order].cumsum()
    allowed = np.array(afp) * weights[detections.radiographs].sum()
    # The cut is just above the first false box that is one too many.
    first_refused = np.searchsorted(false, allowed + 1e-9, side="right")
    scores = np.append(detections.false[order], -np.inf)
    cuts = scores[first_refused]
    shares = (true * (detections.found > cuts[:, None])).sum(axis=1)
    return shares / max(true.sum(), 1e-9)


def _patients(detections: Detections) -> tuple[NDArray[np.int64], ...]:
    return detections.radiographs, detections.found_patient, detections.false_patient
