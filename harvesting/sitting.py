"""One sitting of a run, from its begin to where it is cut or done."""

from contextlib import suppress
from time import monotonic

from fsspec.spec import AbstractFileSystem

from harvesting.counting import NOTHING, add
from harvesting.run import Counts, Run, write_run
from harvesting.shard import Done

SAVE_SECONDS = 10.0
"""A run that is killed forgets no more of its time than this."""

STAGES = ("prepare_seconds", "infer_seconds", "finish_seconds")


class Sitting:
    """One sitting of a run: what it has done, and how long it took, kept up to date on disk."""

    def __init__(self, files: AbstractFileSystem, root: str, run: Run) -> None:
        self._files, self._root, self._run = files, root, run
        self._begun = self._saved = monotonic()
        self._stages = dict.fromkeys(STAGES, 0.0)
        self.counts = NOTHING

    def hear(self, done: Done) -> None:
        """A shard was written."""
        self.counts = add(self.counts, done.counts)
        for stage, seconds in zip(STAGES, done.seconds, strict=True):
            self._stages[stage] += seconds
        if monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write the timings so far."""
        self._saved = monotonic()
        run = self._run.model_copy(update={"timings": self.timings()})
        # It is the rows that count: that they cannot be written is said where they are.
        with suppress(OSError):
            write_run(self._files, self._root, run)

    def timings(self, counts: Counts | None = None) -> dict[str, float]:
        """Of all sittings; of the stages, the sum over all workers."""
        now = {"seconds": monotonic() - self._begun, **self._stages}
        total = {name: self._run.timings.get(name, 0.0) + more for name, more in now.items()}
        if counts is not None:
            total["radiographs_per_second"] = counts.radiographs / total["seconds"]
        return {name: round(value, 3) for name, value in total.items()}
