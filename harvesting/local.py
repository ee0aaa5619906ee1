"""The local engine: shards handed out, one at a time, to worker processes of this machine.

On a CPU each core has a process with a session of one thread: nothing there is faster. On a GPU
one process holds the model, and threads of it each work on a shard: while one waits for the GPU,
the others read and decode.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import wait
from time import monotonic

import fsspec

from harvesting.attempts import forget
from harvesting.plan import Shard
from harvesting.preparation import DEATHS, Prepare
from harvesting.processes import Worker, WorkerDied
from harvesting.shard import Done, Finish, Infer, Job

Engine = Callable[[Job, Iterable[Shard], Callable[[Done], None]], None]
"""Works on shards in any order and reports each that is written; see `run_locally`."""

MOST_DEATHS = 3
"""Workers that one shard may bring down: the first by a file, which is then read alone."""


class EngineFailed(RuntimeError):
    """A run that cannot go on; the message says why."""


def local_engine(workers: int) -> Engine:
    """The engine for so many processes on a CPU, or threads on a GPU."""
    return partial(run_locally, workers=workers)


def run_locally(
    job: Job, shards: Iterable[Shard], report: Callable[[Done], None], *, workers: int
) -> None:
    """Work on all shards. However it ends, no process is left, and what was written is whole.

    Raises:
        WorkFailed: a shard failed in a way that no one expected.
        EngineFailed: a shard brought down worker after worker.
    """
    processes, threads = (workers, 1) if job.compute.provider == "cpu" else (1, workers)
    _Crew(job, deque(), iter(shards), report, threads).run(processes)


def whole_shard(job: Job) -> Callable[[Shard], Done]:
    """All three stages, one after the other, in one process."""
    prepare, infer, finish = Prepare(job), Infer(job), Finish(job)
    return lambda shard: finish(infer(prepare(shard)))


@dataclass
class _Crew:
    job: Job
    again: deque[Shard]
    """Whose workers died."""
    remaining: Iterable[Shard]
    report: Callable[[Done], None]
    threads: int
    """Of each worker: so many shards it has at once."""
    held: dict[Worker, dict[int, Shard]] = field(default_factory=dict)
    """The shards that each worker has."""
    due: dict[int, float] = field(default_factory=dict)
    """When a shard that a worker has is taken for hanging, by the clock `monotonic`."""
    deaths: Counter[int] = field(default_factory=Counter)

    def run(self, processes: int) -> None:
        try:
            # No more of them than there is work for.
            while len(self.held) < processes and self._hire():
                pass
            while any(self.held.values()):
                pipes = {worker.pipe: worker for worker in self.held}
                for pipe in wait(list(pipes), self._patience()):
                    self._hear(pipes[pipe])  # type: ignore[index]
                self._end_late()
        finally:
            for worker in self.held:
                worker.kill()
            self._unmark()

    def _hire(self) -> bool:
        shard = self._next()
        if shard is None:
            return False
        worker = Worker(whole_shard, self.job, threads=self.threads)
        self.held[worker] = {}
        self._give(worker, shard)
        for _ in range(1, self.threads):
            self._give(worker, self._next())
        return True

    def _next(self) -> Shard | None:
        return self.again.popleft() if self.again else next(iter(self.remaining), None)

    def _give(self, worker: Worker, shard: Shard | None) -> None:
        if shard is not None:
            self.held[worker][shard.number] = shard
            # The shard of a worker that was lost is read file by file.
            attempts = DEATHS if self.deaths[shard.number] else 0
            limit = self.job.limits.of_shard(shard.items, attempts)
            self.due[shard.number] = monotonic() + limit
            worker.send(shard)

    def _hear(self, worker: Worker) -> None:
        try:
            done: Done = worker.receive()
        except WorkerDied as error:
            self._replace(worker, str(error))
            return
        del self.held[worker][done.shard]
        del self.due[done.shard]
        self._give(worker, self._next())
        self.report(done)

    def _patience(self) -> float:
        """Seconds until the next shard is due."""
        return max(0.0, min(self.due.values()) - monotonic())

    def _end_late(self) -> None:
        """End the workers of shards that are overdue."""
        now = monotonic()
        for worker, shards in list(self.held.items()):
            if any(self.due[number] < now for number in shards):
                worker.kill()
                self._replace(worker, "a worker was killed that gave no answer for too long")

    def _replace(self, worker: Worker, why: str) -> None:
        lost = self.held.pop(worker)
        for number in lost:
            del self.due[number]
        self.again.extend(lost.values())
        self._count(lost, why)
        self._hire()

    def _count(self, lost: Iterable[int], why: str) -> None:
        for number in lost:
            self.deaths[number] += 1
            if self.deaths[number] >= MOST_DEATHS:
                raise EngineFailed(
                    f"Shard {number} brought down {MOST_DEATHS} workers, the last two while each "
                    f"of its files was read by a process of its own: {why}. "
                    "Is there enough memory?"
                )

    def _unmark(self) -> None:
        """What is left by choice is no suspect."""
        files, root = fsspec.core.url_to_fs(self.job.out)
        for shards in self.held.values():
            for number in shards:
                forget(files, root, number)
