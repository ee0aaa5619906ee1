"""What a method reached in all its time slices, and how sure its ratio to the whole job is."""

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
    """One of each process."""
    memory: float
    """PSS of all its processes in MB."""
    base: float = math.nan
    """The whole job's rate at that time, radiographs per second; not a number where not known."""

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
        """Rates and the generator's time are means over turns; latencies are of all together.

        Raises `StatisticsError` where there are no turns.
        """
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


def rate_ratio(turns: Sequence[Turn]) -> tuple[float, float]:
    """Ratio of a method's mean rate to the whole job's around its turns, and its standard error.

    The error is the jackknife's: of the ratios that each leave one turn out. Not a number for
    one turn.
    """
    if len(turns) == 1:
        return _ratio(turns), math.nan
    without = [_ratio([*turns[:place], *turns[place + 1 :]]) for place in range(len(turns))]
    middle = fmean(without)
    squares = sum((ratio - middle) ** 2 for ratio in without)
    return _ratio(turns), math.sqrt(squares * (len(turns) - 1) / len(turns))


def _ratio(turns: Sequence[Turn]) -> float:
    return fmean(turn.rate for turn in turns) / fmean(turn.base for turn in turns)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many per cent of all do not exceed; not a number for none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
