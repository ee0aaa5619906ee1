"""How untypical a picture may look, and how surely turned, before the gate speaks: its limits.

A network may know a radiograph that it learned from better than another, but the rarest half per
cent are too few of the validation part alone to be known by. Hence the training part's others,
those that typicality was not fitted on, count as well. Radiographs with a finding look less typical
than those without, and are those that must not be turned away: the limit of refusal is theirs.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from localization import Localizer
from localization.appearance import AppearanceLimits
from training.appearance import BATCH, fitted_on, spread_over
from training.dataset import RadiographDataset

HELD_OUT = 4096
"""Of the training part's others, at most."""

REFUSED_SHARE, CONFIDENCE = 0.005, 0.95
DOUBTFUL_SHARE, TURNED_SHARE = 0.01, 0.0025
RULE = (
    f"by the validation part and up to {HELD_OUT} radiographs of the training part that typicality "
    f"was not fitted on: of those with a finding, no more than {REFUSED_SHARE:.1%} are refused as "
    f"atypical (upper {CONFIDENCE:.0%} confidence limit, Clopper and Pearson 1934); of all, "
    f"{DOUBTFUL_SHARE:.0%} are refused or doubted, and at most {TURNED_SHARE:.2%} said to be "
    "turned or inverted"
)


def held_out(training: RadiographDataset) -> NDArray[np.int64]:
    """Rows of the training part that typicality was not fitted on."""
    others = np.setdiff1d(np.arange(len(training)), fitted_on(training))
    return spread_over(others, HELD_OUT)


def choose_limits(
    localizer: Localizer, training: RadiographDataset, validation: RadiographDataset
) -> AppearanceLimits:
    """The limits by `RULE`, of the graph that serves.

    Args:
        localizer: of that graph.
        training: the part that `training.appearance.fit_appearance` was given.
        validation: the validation part.
    """
    rows = held_out(training)
    pixels = np.concatenate([np.asarray(validation.pixels), training.pixels[rows]])
    findings = np.concatenate([validation.labels.numpy(), training.labels.numpy()[rows]])
    measured = [
        localizer.infer(pixels[start : start + BATCH][:, None])
        for start in range(0, len(pixels), BATCH)
    ]
    typicality = np.concatenate([each.typicality for each in measured])
    turned = np.concatenate([each.presentation for each in measured])[:, 1:].max(axis=1)
    refused = lowest_allowed(typicality[findings.any(axis=1)])
    return AppearanceLimits(
        refused=refused,
        doubtful=max(refused, _rounded(typicality, DOUBTFUL_SHARE)),
        # Less than half, and another presentation may be the likelier one.
        presentation=max(0.5, _rounded(turned, 1 - TURNED_SHARE)),
    )


def lowest_allowed(typicality: NDArray[np.float32]) -> float:
    """The typicality below which a radiograph is refused; 0, none, where too few are known.

    Args:
        typicality: `[radiographs]`, of frontal chest radiographs.
    """
    count = len(typicality)
    if count == 0:
        return 0.0
    refused = np.arange(count)
    upper = beta.ppf(CONFIDENCE, refused + 1, count - refused)
    allowed = int(np.count_nonzero(upper <= REFUSED_SHARE)) - 1
    if allowed < 0:
        return 0.0
    return math.floor(1e4 * float(np.sort(typicality)[allowed])) / 1e4


def _rounded(values: NDArray[np.float32], share: float) -> float:
    return round(float(np.quantile(values, share)), 4)
