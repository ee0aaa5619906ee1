"""Probabilities of one disease against the model's reference: bins, their drift, their drawing."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from localization.reference import BOUNDS, Bins

LEAST_OBSERVED = 1e-4
"""An empty bin's share: its logarithm is asked for. The service's rules take the same."""

PLAIN_BOUNDS = (0.001, 0.002, 0.00501, 0.01, 0.02, 0.0501, 0.1, 0.2, 0.501, 1.0)
"""Of the bins where a model has no reference; each one of `BOUNDS`."""

WIDTH, HEIGHT = 200.0, 44.0
"""Of the drawing, in its own units."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bin: its place in the drawing, and its words."""

    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """What one disease's drawing shows."""

    bars: tuple[Bar, ...]
    reference: str | None
    """Points of the line of the reference's shares."""
    operating_point: float
    """Where it lies, from left."""
    psi: float | None
    """None where there is nothing to compare."""
    chance: float | None
    """The PSI that as few radiographs give on average, where nothing has changed."""


def histogram(
    buckets: Sequence[int], reference: Bins | None, known: int, operating_point: float
) -> Histogram:
    """Compare a disease's probabilities with their reference.

    Args:
        buckets: radiographs per bucket of `BOUNDS`.
        reference: the bins to compare with; every bound of theirs is one of `BOUNDS`.
        known: radiographs behind the reference.
        operating_point: the disease's own, in [0, 1].
    """
    bounds = reference.bounds if reference else PLAIN_BOUNDS
    count = sum(buckets)
    shares = [held / count if count else 0.0 for held in rebin(buckets, bounds)]
    expected = reference.shares if reference else ()
    top = max((*shares, *expected)) or 1.0
    compared = reference is not None and count > 0
    return Histogram(
        tuple(_bars(shares, bounds, top)),
        _line(expected, top) if reference else None,
        round(WIDTH * _place(operating_point, bounds), 1),
        psi(shares, expected) if compared else None,
        (len(bounds) - 1) * (1 / count + 1 / known) if compared else None,
    )


def rebin(buckets: Sequence[int], bounds: Sequence[float]) -> list[int]:
    """Counts by `BOUNDS` as counts by fewer bounds."""
    ends = [0, *(BOUNDS.index(bound) + 1 for bound in bounds)]
    return [int(sum(buckets[start:end])) for start, end in pairwise(ends)]


def psi(shares: Iterable[float], expected: Iterable[float]) -> float:
    """The population stability index, as `docs/monitoring.md` defines it for the service."""
    pairs = [(max(a, LEAST_OBSERVED), e) for a, e in zip(shares, expected, strict=True)]
    return sum((a - e) * math.log(a / e) for a, e in pairs)


def _bars(shares: Sequence[float], bounds: Sequence[float], top: float) -> Iterable[Bar]:
    step = WIDTH / len(bounds)
    for index, (share, low, high) in enumerate(
        zip(shares, (0.0, *bounds[:-1]), bounds, strict=True)
    ):
        height = round(HEIGHT * share / top, 1)
        yield Bar(
            round(index * step + 1, 1),
            round(HEIGHT - height, 1),
            round(step - 2, 1),
            height,
            f"{low:g} to {high:g}: {share:.1%}",
        )


def _line(shares: Sequence[float], top: float) -> str:
    step = WIDTH / len(shares)
    return " ".join(
        f"{(index + side) * step:.1f},{HEIGHT * (1 - share / top):.1f}"
        for index, share in enumerate(shares)
        for side in (0, 1)
    )


def _place(value: float, bounds: Sequence[float]) -> float:
    """Where a probability lies, 0 to 1, on an axis whose bins are equally wide; within a bin by
    its logarithm, as the bounds grow."""
    index = next(k for k, bound in enumerate(bounds) if value <= bound)
    high = bounds[index]
    low = bounds[index - 1] if index else high / 10
    inside = math.log(max(value, low) / low) / math.log(high / low)
    return (index + inside) / len(bounds)
