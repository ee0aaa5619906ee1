"""A histogram that costs little to count in.

The library's own would look at half of all bounds, one by one, and lock for each count.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from prometheus_client.utils import floatToGoString


class Histogram:
    """Counts values; from one thread at a time.

    Args:
        bounds: in rising order; what is beyond the last counts, too.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        """By the smallest bound that is no less."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus counts: each bound with all that lies below."""
        names = (*map(floatToGoString, self._bounds), "+Inf")
        return [*zip(names, map(float, accumulate(self._counts)), strict=True)]
