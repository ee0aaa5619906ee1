"""When the stages of one request began and ended."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timeline:
    """The stages of one request, in the order in which they began.

    Times are of `time.perf_counter`, in seconds. It is one clock for all processes of a machine:
    what a worker has noted fits what this process has.
    """

    def __init__(self) -> None:
        self._stages: dict[str, tuple[float, float | None]] = {}

    def begin(self, stage: str) -> None:
        """Note that a stage begins now."""
        self._stages[stage] = (time.perf_counter(), None)

    def end(self, stage: str) -> None:
        """Note that a stage that has begun ends now."""
        self._stages[stage] = (self._stages[stage][0], time.perf_counter())

    @contextmanager
    def during(self, stage: str) -> Iterator[None]:
        """Note the stage that the block is, also where the block fails."""
        self.begin(stage)
        try:
            yield
        finally:
            self.end(stage)

    def add(self, other: "Timeline") -> None:
        """Take over the stages that another process has noted."""
        self._stages.update(other._stages)

    def seconds(self, now: float) -> dict[str, float]:
        """How long each stage took, in seconds; see `until`."""
        return {stage: ended - began for stage, (began, ended) in self.until(now).items()}

    def until(self, now: float) -> dict[str, tuple[float, float]]:
        """Begin and end of each stage; one that has not ended has gone on until ``now``."""
        # A copy: where no one waited for its end, a worker's thread may still write here.
        stages = self._stages.copy()
        return {
            stage: (began, now if ended is None else ended)
            for stage, (began, ended) in stages.items()
        }
