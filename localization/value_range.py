"""Values without a window as levels: from the darkest to the brightest, or robustly.

One rule for DICOM files that offer no window and for pictures of over 8 bits.
"""

from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from localization.gate import Doubt
from localization.levels import to_levels

Values = NDArray[np.integer | np.floating]
"""`[65536]`: what each stored value has become so far."""

PERCENTILES = (0.5, 99.5)
ROBUST = "percentiles {:g} to {:g}".format(*PERCENTILES)

LEAST_SHARE = 0.5
"""Of the range from darkest to brightest, what the robust range has to fill to be passed over.

Of 2,507 radiographs of ChestX-ray14's train_val_list none fills less; half of them fill 0.9.
"""

MOST_APART = 0.05
"""Of the pixels, how many at one end a gap may set apart: as much as a marker covers."""


class Shown(NamedTuple):
    """Levels for each stored value, and how they were made."""

    levels: NDArray[np.uint8]
    """`[65536]`."""
    words: str
    doubts: tuple[Doubt, ...]


def histogram(stored: NDArray[np.uint16]) -> NDArray[np.float32]:
    """How many pixels have each value, `[65536]`, of stored values `[height, width]`."""
    counts = cv2.calcHist([stored], [0], None, [2**16], [0, 2**16])
    return np.asarray(counts, dtype=np.float32).ravel()


def show_range(values: Values, counts: NDArray[np.float32]) -> Shown:
    """Show values linearly from the darkest to the brightest pixel, but for a few far ones.

    Where the robust range is a small part of that, a few pixels would take the levels of all
    others: it is shown instead, with a doubt.

    Args:
        values: `[65536]`, finite, the value that each stored value stands for.
        counts: `[65536]`, how many pixels that count have it; one at least.
    """
    every = _Spread.of(values, counts)
    darkest, brightest = every.at(0), every.at(100)
    black, white = _robust_range(every)
    if white - black >= LEAST_SHARE * (brightest - darkest):
        return Shown(to_levels(values, darkest, brightest), "darkest to brightest", ())
    filled = (white - black) / (brightest - darkest)
    return Shown(to_levels(values, black, white), ROBUST, (_far_pixels(filled),))


def robust_levels(values: Values, counts: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Values linearly between the percentiles that a few odd pixels do not move.

    Args and result are those of `show_range`.
    """
    return to_levels(values, *_robust_range(_Spread.of(values, counts)))


def _far_pixels(filled: float) -> Doubt:
    return Doubt(
        "far-pixels",
        "A few pixels lie far from all others, and were left out of the range that is shown; "
        "check the picture against the radiograph.",
        evidence={"shown": ROBUST, "share": round(filled, 4), "limit": LEAST_SHARE},
    )


class _Spread(NamedTuple):
    """The values that pixels have, ascending, and how many pixels have one up to each."""

    values: NDArray[np.float64]
    reached: NDArray[np.float64]

    @classmethod
    def of(cls, values: Values, counts: NDArray[np.float32]) -> Self:
        used = np.flatnonzero(counts)
        used = used[np.argsort(values[used], kind="stable")]
        return cls(values[used].astype(np.float64), np.cumsum(counts[used], dtype=np.float64))

    def at(self, percent: float) -> float:
        """A percentile of the pixels."""
        place = np.searchsorted(self.reached, percent / 100 * self.reached[-1])
        return float(self.values[place])

    def without_far_end(self) -> Self:
        """Without the few pixels at one end that a gap of most of the range sets apart."""
        with np.errstate(over="ignore"):
            gaps = np.diff(self.values)
            most = LEAST_SHARE * (self.values[-1] - self.values[0])
        if not gaps.size or gaps.max() <= most:
            return self
        edge = int(gaps.argmax()) + 1
        below = self.reached[edge - 1]
        if below <= MOST_APART * self.reached[-1]:
            return self._replace(values=self.values[edge:], reached=self.reached[edge:] - below)
        if self.reached[-1] - below <= MOST_APART * self.reached[-1]:
            return self._replace(values=self.values[:edge], reached=self.reached[:edge])
        return self


def _robust_range(every: _Spread) -> tuple[float, float]:
    """Black and white; the darkest and the brightest where most pixels have one value."""
    most = every.without_far_end()
    black, white = (most.at(percent) for percent in PERCENTILES)
    return (black, white) if black < white else (every.at(0), every.at(100))
