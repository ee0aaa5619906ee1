"""The reference: how a model's probabilities lie where it is known to be right about their sizes.

The service counts its own probabilities by the same bounds, so that the two can be compared.
"""

from itertools import pairwise
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from localization.diseases import DISEASES

_BOUNDS_PER_DECADE = ((1e-4, 10), (1e-3, 10), (1e-2, 40), (1e-1, 10))

BOUNDS: tuple[float, ...] = (
    *(
        float(f"{start * 10 ** (step / count):.3g}")
        for start, count in _BOUNDS_PER_DECADE
        for step in range(count)
    ),
    1.0,
)
"""Upper bounds, inclusive, by which probabilities are counted.

Calibrated probabilities are about as large as the diseases are frequent: medians lie between 0.001
(Hernia) and 0.1 (Infiltration), so the bounds grow by a factor. A histogram of Prometheus has one
list for all its series. The factor is smallest between 0.01 and 0.1, where whole distributions
(Nodule: 90 % between 0.033 and 0.049) would fill a bin or two of a coarser list.
"""

LEAST_SHARE = 1e-6
"""A bin of a reference may not be empty: its logarithm is asked for."""

LEAST_COMPARED = 1e-4
"""What an empty bin counts as where it is compared with one of a reference."""


class Bins(BaseModel):
    """One disease's probabilities, in bins that begin where the one before ends; the first at 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bounds: tuple[float, ...]
    """Upper bounds, inclusive, rising to 1; each one of `BOUNDS`."""
    shares: tuple[Annotated[float, Field(ge=LEAST_SHARE, le=1)], ...]
    """Of the radiographs, in each bin."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if len(self.bounds) != len(self.shares):
            raise ValueError(f"{len(self.bounds)} bounds for {len(self.shares)} shares")
        if unknown := set(self.bounds) - set(BOUNDS):
            raise ValueError(f"the service has no bounds {sorted(unknown)}")
        if self.bounds[-1:] != BOUNDS[-1:] or any(b <= a for a, b in pairwise(self.bounds)):
            raise ValueError("bounds do not rise to 1")
        if abs(sum(self.shares) - 1) > 1e-3:
            raise ValueError(f"shares add up to {sum(self.shares):g}")
        return self

    def stability_index(self, probabilities: NDArray[np.floating]) -> float:
        """Population stability index of probabilities `[radiographs]` against these bins.

        As Prometheus' rules compute it from what the service has counted.
        """
        bins = np.searchsorted(self.bounds, probabilities.astype(float))
        actual = np.bincount(bins, minlength=len(self.bounds)) / len(probabilities)
        actual, expected = np.maximum(actual, LEAST_COMPARED), np.array(self.shares)
        return float(((actual - expected) * np.log(actual / expected)).sum())


class Reference(BaseModel):
    """What `reference` of a manifest holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    """Of which radiographs, and by which graph."""
    radiographs: int = Field(gt=0)
    rule: str
    """How the bins were chosen."""
    diseases: dict[str, Bins]

    @model_validator(mode="after")
    def _all_diseases(self) -> Self:
        if wrong := set(DISEASES) ^ set(self.diseases):
            raise ValueError(f"diseases do not fit: {', '.join(sorted(wrong))}")
        return self
