"""The first stage of a shard: its files are read and decoded."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from time import perf_counter

import cv2
import fsspec

from harvesting.ahead import ahead
from harvesting.attempts import attempt
from harvesting.identifiers import hash_identifiers
from harvesting.items import Item, ItemUnreadable
from harvesting.plan import Shard
from harvesting.processes import Worker, WorkerDied, WorkerLate, WorkFailed
from harvesting.reader import Reader, Readers
from harvesting.rows import NOBODY
from harvesting.shard import Failed, Job, Prepared, PreparedShard
from harvesting.sources import Source, SourceGone
from localization import Radiograph, RadiographRefused

READERS = 8
"""Threads that read ahead: storage may take its time for each file."""

DEATHS = 2
"""Processes that an item, read alone, may bring down or hold up before it is given up: one may have
been killed, or stopped, by another's doing."""


class Prepare:
    """The first stage. A file that kills its process, or lets it hang, becomes a row: where an
    attempt at a shard did not end, each of its items is read in a process that may die.

    Safe to share between threads. What one shard has open, the next reads on from.
    """

    def __init__(self, job: Job) -> None:
        cv2.setNumThreads(1)
        self._job = job
        self._files, self._root = fsspec.core.url_to_fs(job.out)
        self._readers = Readers(job.source)

    def __call__(self, shard: Shard) -> PreparedShard:
        """Read and decode a shard's items.

        Raises:
            WorkFailed: items could not be read because the source cannot be reached any more.
        """
        begun = perf_counter()
        with attempt(self._files, self._root, shard.number) as cut:
            read = self._in_isolation if cut else self._together
            results = read(shard.items)
        if any(map(_is_out_of_reach, shard.items, results)):
            _require_reachable(self._job.source)
        return PreparedShard(shard, results, perf_counter() - begun)

    def close(self) -> None:
        """Let go of what is open."""
        self._readers.close()

    def _in_isolation(self, items: Sequence[Item]) -> tuple[Prepared | Failed, ...]:
        return tuple(prepare_in_isolation(self._job, items))

    def _together(self, items: Sequence[Item]) -> tuple[Prepared | Failed, ...]:
        with self._readers.lend() as reader:
            return tuple(prepare(self._job, items, reader))


def _is_out_of_reach(item: Item, result: Prepared | Failed) -> bool:
    """Whether an item that was listed without a fault could not be read."""
    unread = isinstance(result, Failed) and result.reason in ("missing", "unreadable")
    return unread and item.fault is None


def _require_reachable(source: Source) -> None:
    try:
        source.require_reachable()
    except SourceGone as error:
        raise WorkFailed(f"{error} Once it is there again, the same command goes on.") from error


def prepare(job: Job, items: Sequence[Item], reader: Reader) -> Iterator[Prepared | Failed]:
    """Read ahead in threads, decode in this one."""
    # A compressed archive is read in its order alone.
    threads = 1 if any(item.archive for item in items) else READERS

    def read(item: Item) -> bytes | ItemUnreadable:
        try:
            return reader.read(item)
        except ItemUnreadable as error:
            return error

    for item, data in zip(items, ahead(read, items, threads), strict=True):
        yield _decode(job, item, data)


def _decode(job: Job, item: Item, data: bytes | ItemUnreadable) -> Prepared | Failed:
    if isinstance(data, ItemUnreadable):
        return Failed(data.reason, str(data))
    try:
        radiograph = Radiograph.read(data, policy=job.policy)
        pixels = radiograph.at_side(job.bundle.manifest.side)[None]
    except RadiographRefused as refusal:
        return Failed(refusal.reason, str(refusal))
    except Exception as error:
        error.add_note(f"at {item.path}")
        raise
    hashed = job.key is not None and radiograph.format == "DICOM"
    patient = hash_identifiers(data, job.key) if hashed and job.key is not None else NOBODY
    return Prepared(pixels, radiograph.outline, patient)


def prepare_in_isolation(job: Job, items: Sequence[Item]) -> Iterator[Prepared | Failed]:
    """As `prepare`, each item in a process that may die of it, or be killed when it takes too long:
    slower, the same otherwise."""
    with closing(_Isolation(job)) as isolation:
        yield from map(isolation.prepare, items)


class _Isolation:
    """A process for items that are read alone; a new one where that was lost."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: Worker | None = None

    def prepare(self, item: Item) -> Prepared | Failed:
        limit = self._job.limits.of_item(item)
        failed = Failed("worker-died", "Each process that read the file died of it.")
        for _ in range(DEATHS):
            self._worker = self._worker or Worker(prepare_alone, self._job)
            self._worker.send(item)
            try:
                result: Prepared | Failed = self._worker.receive(limit)
                return result
            except (WorkerDied, WorkerLate) as error:
                self._worker = None
                if isinstance(error, WorkerLate):
                    words = f"It could not be read and decoded within {limit:.0f} seconds."
                    failed = Failed("timed-out", words)
        return failed

    def close(self) -> None:
        if self._worker is not None:
            self._worker.kill()


def prepare_alone(job: Job) -> Callable[[Item], Prepared | Failed]:
    """Of one process: prepares an item at a time, and reads on from where the last one was."""
    cv2.setNumThreads(1)
    reader = Reader(job.source)
    return lambda item: next(iter(prepare(job, [item], reader)))
