"""One sitting of a run, from its begin to where it is cut or done."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Literal

from fsspec.spec import AbstractFileSystem

from harvesting.counting import NOTHING, add
from harvesting.run import Counts, Run, write_run
from harvesting.shard import Done

SAVE_SECONDS = 10.0
"""A run that is killed while shards are worked on forgets no more of its time than this."""

Stage = Literal["listing_seconds", "work_seconds", "exports_seconds", "report_seconds"]

STAGES: tuple[Stage, ...] = ("listing_seconds", "work_seconds", "exports_seconds", "report_seconds")
"""Of a run, one after the other."""

WORKERS = ("prepare_seconds", "infer_seconds", "finish_seconds")
"""Of a shard, summed over all workers."""


class Sitting:
    """One sitting of a run: what it has done, and how long it took, kept up to date on disk.

    Args:
        run: as the sittings before left it.
        listing: seconds that this sitting has spent on labels and plan.
    """

    def __init__(self, files: AbstractFileSystem, root: str, run: Run, listing: float) -> None:
        self._files, self._root, self._run = files, root, run
        self._spent: dict[str, float] = {"listing_seconds": listing, **dict.fromkeys(WORKERS, 0.0)}
        self._stage: Stage | None = None
        self._since = self._saved = monotonic()
        self.counts = NOTHING

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Clock a stage; it is saved, however it ends."""
        self._stage, self._since = stage, monotonic()
        try:
            yield
        finally:
            self._clock()
            self._stage = None
            self.save()

    def hear(self, done: Done) -> None:
        """A shard was written."""
        self.counts = add(self.counts, done.counts)
        for stage, seconds in zip(WORKERS, done.seconds, strict=True):
            self._spent[stage] += seconds
        if monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write the timings so far."""
        self._saved = monotonic()
        # It is the rows that count: that they cannot be written is said where they are.
        with suppress(OSError):
            write_run(self._files, self._root, self.run())

    def finish(self, counts: Counts) -> None:
        """Call the run finished. Raises `OSError` where that cannot be written."""
        self._run = self._run.model_copy(update={"counts": counts, "finished": True})
        write_run(self._files, self._root, self.run())

    def run(self) -> Run:
        """The run as it is now, with the timings of all sittings."""
        self._clock()
        earlier, now = self._run.timings, self._spent
        total = {
            name: earlier.get(name, 0.0) + now.get(name, 0.0)
            for name in (*STAGES, *WORKERS)
            if name in earlier or name in now
        }
        timings = {"seconds": sum(total.get(stage, 0.0) for stage in STAGES), **total}
        if self._run.counts is not None:
            timings["radiographs_per_second"] = self._run.counts.radiographs / timings["seconds"]
        rounded = {name: round(value, 3) for name, value in timings.items()}
        return self._run.model_copy(update={"timings": rounded})

    def _clock(self) -> None:
        """Bring the stage that is under way up to this moment."""
        if self._stage is not None:
            now = monotonic()
            self._spent[self._stage] = self._spent.get(self._stage, 0.0) + now - self._since
            self._since = now
