"""What a method reached in all its time slices, and how sure a ratio of rates is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Self

from benchmark.work import Slice


@dataclass(frozen=True)
class Turn:
    """One time slice of a method, as its processes spent it side by side."""

    slices: Sequence[Slice]
    memory: float
    """PSS of all its processes in MB."""

    @property
    def rate(self) -> float:
        """Radiographs per second."""
        return sum(len(spent.latencies) / spent.seconds for spent in self.slices)


@dataclass(frozen=True)
class Figures:
    """What a method reached in several turns."""

    rate: float
    """Radiographs per second."""
    p50: float
    """Latency in ms over all turns, as the two below."""
    p95: float
    p99: float
    memory: float
    """PSS of all its processes in MB, the turns' median."""
    others: int
    """Answers without a localization in all turns."""
    generator: float
    """CPU time of the load generator in ms per request."""

    @classmethod
    def of(cls, turns: Sequence[Turn]) -> Self:
        """All turns count alike."""
        slices = [spent for turn in turns for spent in turn.slices]
        latencies = [1000 * latency for spent in slices for latency in spent.latencies]
        return cls(
            fmean(turn.rate for turn in turns),
            percentile(latencies, 50),
            percentile(latencies, 95),
            percentile(latencies, 99),
            median(turn.memory for turn in turns),
            sum(spent.others.total() for spent in slices),
            1000 * fmean(spent.generator for spent in slices),
        )


def rate_ratio(turns: Sequence[Turn], base: Sequence[Turn]) -> tuple[float, float]:
    """Ratio of two methods' mean rates, and its standard error.

    The error is the jackknife's: of the ratios that each leave one round out. Not a number for
    one round.
    """
    pairs = [(one.rate, other.rate) for one, other in zip(turns, base, strict=True)]
    if len(pairs) == 1:
        return _ratio(pairs), math.nan
    without = [_ratio(pairs[:place] + pairs[place + 1 :]) for place in range(len(pairs))]
    middle = fmean(without)
    squares = sum((ratio - middle) ** 2 for ratio in without)
    return _ratio(pairs), math.sqrt(squares * (len(pairs) - 1) / len(pairs))


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    return sum(one for one, _ in pairs) / sum(other for _, other in pairs)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many per cent of all do not exceed; not a number for none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
