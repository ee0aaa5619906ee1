"""When the stages of one request began and ended."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

Stages = dict[str, tuple[float, float | None]]
"""Begin and end by name; one that has not ended has None for its end."""


class Timeline:
    """The stages of one request, in the order in which they began.

    Times are of `time.perf_counter`, in seconds. It is one clock for all processes of a machine:
    what a worker has noted fits what this process has.
    """

    def __init__(self) -> None:
        self._stages: Stages = {}
        self._followed: Timeline | None = None

    def begin(self, stage: str) -> None:
        """Note that a stage begins now."""
        self._stages[stage] = (time.perf_counter(), None)

    def end(self, stage: str) -> None:
        """Note that a stage that has begun ends now."""
        began, _ = self._stages[stage]
        self._stages[stage] = (began, time.perf_counter())

    def noted(self) -> Stages:
        """A copy of what has been noted, here or in the timeline that this one follows."""
        # Of both: where no one waited for its end, a worker's thread may still write here.
        followed = self._followed
        return self._stages.copy() | (followed.noted() if followed is not None else {})

    @contextmanager
    def during(self, stage: str) -> Iterator[None]:
        """Note the stage that the block is, also where the block fails."""
        self.begin(stage)
        try:
            yield
        finally:
            self.end(stage)

    @contextmanager
    def following(self, other: "Timeline") -> Iterator[None]:
        """Have the stages that another timeline notes while the block runs, and keep them."""
        self._followed = other
        try:
            yield
        finally:
            self._stages.update(other.noted())
            self._followed = None

    def seconds(self, now: float) -> dict[str, float]:
        """How long each stage took, in seconds; see `until`."""
        return {stage: ended - began for stage, (began, ended) in self.until(now).items()}

    def until(self, now: float) -> dict[str, tuple[float, float]]:
        """Begin and end of each stage.

        One whose end was not noted has gone on until the next one began, the last until ``now``.
        """
        stages = self.noted()
        # The end of each that has none.
        otherwise = [*[began for began, _ in stages.values()][1:], now]
        return {
            stage: (began, ended or other)
            for (stage, (began, ended)), other in zip(stages.items(), otherwise, strict=False)
        }


class SharedTimeline(Timeline):
    """A timeline in memory that processes share: one notes, another reads at any time.

    So it is known what a worker is at, and how far it came before it was killed.

    Args:
        times: two for each stage, begin and end; 0 is none.
        names: of the stages that can be noted, the same in each process.
    """

    def __init__(self, times: "memoryview[float]", names: Sequence[str]) -> None:
        super().__init__()
        self._places = {name: 2 * place for place, name in enumerate(names)}
        self._times = times

    def clear(self) -> None:
        """Forget everything, for the next request."""
        for place in range(len(self._times)):
            self._times[place] = 0.0

    def begin(self, stage: str) -> None:
        """Note that a stage begins now."""
        place = self._places[stage]
        self._times[place + 1] = 0.0
        self._times[place] = time.perf_counter()

    def end(self, stage: str) -> None:
        """Note that a stage that has begun ends now."""
        self._times[self._places[stage] + 1] = time.perf_counter()

    def noted(self) -> Stages:
        """A copy of what has been noted, by whichever process."""
        times = self._times.tolist()
        pairs = zip(self._places, times[::2], times[1::2], strict=True)
        return {name: (began, ended or None) for name, began, ended in pairs if began}
