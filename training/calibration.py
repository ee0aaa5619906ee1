"""Calibrated probabilities and operating points, from the validation part alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

FEWEST_POSITIVES = 10
"""A disease with fewer in the validation part borrows what it cannot show."""

RARE_SHARE = 0.05
"""Share of validation radiographs that are called positive for such a disease."""


@dataclass(frozen=True)
class Calibration:
    """Per disease `[14]`: a probability is `sigmoid(scale * logit + offset)`."""

    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    threshold: NDArray[np.float64]
    """The operating point: a probability in (0, 1)."""

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities of logits `[..., 14]`."""
        return np.asarray(expit(self.scale * logits + self.offset))


def calibrate(
    logits: NDArray[np.float64], labels: NDArray[np.bool_], rates: NDArray[np.float64]
) -> Calibration:
    """Platt scaling, and the operating point with the largest Youden index.

    A disease with fewer than `FEWEST_POSITIVES` positives takes the others' mean scale, the
    offset that makes its mean probability its rate in training, and the operating point that
    calls `RARE_SHARE` of the radiographs positive.

    Args:
        logits: `[radiographs, 14]` of the validation part.
        labels: bool, of the same shape.
        rates: `[14]`, share of positives in the training part.
    """
    common = labels.sum(axis=0) >= FEWEST_POSITIVES
    scale, offset = np.ones(len(rates)), np.zeros(len(rates))
    for disease in np.flatnonzero(common):
        scale[disease], offset[disease] = _platt(logits[:, disease], labels[:, disease])
    scale[~common] = scale[common].mean() if common.any() else 1.0
    for disease in np.flatnonzero(~common):
        offset[disease] = _offset_for_rate(scale[disease] * logits[:, disease], rates[disease])
    probabilities = expit(scale * logits + offset)
    thresholds = [
        _youden(probabilities[:, d], labels[:, d])
        if common[d]
        else float(np.quantile(probabilities[:, d], 1 - RARE_SHARE))
        for d in range(len(rates))
    ]
    return Calibration(scale, offset, np.clip(thresholds, 1e-6, 1 - 1e-6))


def expected_calibration_error(
    probabilities: NDArray[np.float64], labels: NDArray[np.bool_], bins: int = 15
) -> float:
    """Mean gap between probability and rate over bins of equal count (Naeini 2015), in [0, 1]."""
    order = np.argsort(probabilities, axis=None)
    predicted, found = probabilities.ravel()[order], labels.ravel()[order]
    groups = zip(np.array_split(predicted, bins), np.array_split(found, bins), strict=True)
    return sum(abs(p.mean() - y.mean()) * len(p) for p, y in groups) / len(predicted)


def _platt(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> tuple[float, float]:
    """Scale and offset of the logistic fit to the softened labels of Platt 1999."""
    positives, negatives = labels.sum(), (~labels).sum()
    targets = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def cost(parameters: NDArray[np.float64]) -> float:
        z = np.exp(parameters[0]) * logits + parameters[1]
        return float(np.mean(np.logaddexp(0, z) - targets * z))

    # The scale is fitted as its logarithm: a calibration never turns a ranking around.
    fitted = minimize(cost, np.array([0.0, -1.0])).x
    return float(np.exp(fitted[0])), float(fitted[1])


def _offset_for_rate(scaled: NDArray[np.float64], rate: float) -> float:
    def cost(offset: NDArray[np.float64]) -> float:
        return float((expit(scaled + offset[0]).mean() - rate) ** 2 / rate**2)

    start = np.array([logit(rate) - scaled.mean()])
    return float(minimize(cost, start, method="Nelder-Mead").x[0])


def _youden(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """The probability at which sensitivity + specificity is largest (Youden 1950)."""
    order = np.argsort(-probabilities)
    sensitivity = labels[order].cumsum() / labels.sum()
    false_alarms = (~labels[order]).cumsum() / (~labels).sum()
    return float(probabilities[order][np.argmax(sensitivity - false_alarms)])
