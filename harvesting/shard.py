"""The work on one shard, in three stages that may run in different processes, on different
machines, each sized for itself (the first is in `harvesting.preparation`):

    Prepare    bytes -> Radiograph -> the graph's input      storage and CPU
    Infer      inputs -> outputs, in batches                 CPU or GPU
    Finish     outputs -> rows -> files of the data set      CPU and storage

What a shard's rows are depends on the shard and the job alone: batches, too, are cut from it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from types import MappingProxyType

import cv2
import fsspec
import numpy as np
from numpy.typing import NDArray

from harvesting.counting import count
from harvesting.limits import Limits
from harvesting.mining import Mined, failed, mine
from harvesting.plan import Shard
from harvesting.rows import Patient, Rows
from harvesting.run import Counts, Mode
from harvesting.sources import Source
from harvesting.storage import write_shard
from localization import (
    Compute,
    Localizer,
    ModelBundle,
    Outline,
    Outputs,
    Policy,
    RadiographRefused,
    interpret,
)
from localization.interpretation import BoxChoice

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "missing": "a list names it, and it is not there",
        "unreadable": "its bytes cannot be had",
        "too-large": "it has more bytes than are read",
        "timed-out": "it was read, alone, for more than a minute and what its size takes",
        "worker-died": "every process that read it died",
    }
)
"""Every reason for which an item fails, beside those of `localization.refusal.REASONS`."""


@dataclass(frozen=True)
class Job:
    """All that decides what rows are, and where they go. It can be sent to other processes."""

    source: Source
    out: str
    """Folder or URL of the data set."""
    bundle: ModelBundle = field(repr=False)
    compute: Compute
    """Provider and precision as they are, not `auto`."""
    mode: Mode
    policy: Policy
    batch: int = 1
    """Radiographs per run of the graph."""
    key: bytes | None = field(default=None, repr=False)
    """To hash identifiers by; None to leave them out."""
    limits: Limits = field(default_factory=Limits)
    """Of how long reading may take."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A radiograph as the graph takes it, and what else is needed of it."""

    pixels: NDArray[np.uint8]
    """`[1, side, side]`."""
    outline: Outline
    patient: Patient


@dataclass(frozen=True, slots=True)
class Failed:
    """An item without a radiograph."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class PreparedShard:
    """What `Prepare` gives: 4 MB for 256 radiographs and a side of 128."""

    shard: Shard
    results: tuple[Prepared | Failed, ...]
    """Of each item, in their order."""
    seconds: float


@dataclass(frozen=True, slots=True)
class InferredShard:
    """What `Infer` gives."""

    shard: Shard
    results: tuple[tuple[Outline, Patient] | Failed, ...]
    outputs: Outputs | None
    """Of the radiographs, in their order; None where all items failed."""
    seconds: tuple[float, float]
    """Of the stages so far."""


@dataclass(frozen=True, slots=True)
class Done:
    """What is said of a shard that was written."""

    shard: int
    counts: Counts
    seconds: tuple[float, float, float]
    """Of `Prepare`, `Infer` and `Finish`."""


class Infer:
    """The second stage; holds the model. Safe to share between threads."""

    def __init__(self, job: Job) -> None:
        cv2.setNumThreads(1)
        self._batch = job.batch
        self._localizer = Localizer(job.bundle, job.compute)

    def __call__(self, prepared: PreparedShard) -> InferredShard:
        """Run the graph on a shard's radiographs, in batches of the shard's own."""
        begun = perf_counter()
        pixels = [one.pixels for one in prepared.results if isinstance(one, Prepared)]
        batches = [
            self._localizer.infer(np.stack(pixels[start : start + self._batch]))
            for start in range(0, len(pixels), self._batch)
        ]
        joined = Outputs(*map(np.concatenate, zip(*batches, strict=True))) if batches else None
        results = tuple(
            (one.outline, one.patient) if isinstance(one, Prepared) else one
            for one in prepared.results
        )
        seconds = (prepared.seconds, perf_counter() - begun)
        return InferredShard(prepared.shard, results, joined, seconds)


class Finish:
    """The third stage: mines a shard and writes it. Needs no session."""

    def __init__(self, job: Job) -> None:
        cv2.setNumThreads(1)
        self._job = job
        self._files, self._root = fsspec.core.url_to_fs(job.out)

    def __call__(self, inferred: InferredShard) -> Done:
        """Write a shard's rows."""
        begun = perf_counter()
        mined = list(_mine(self._job, inferred))
        rows = Rows(
            tuple(one.radiograph for one in mined),
            tuple(row for one in mined for row in one.findings),
            tuple(row for one in mined for row in one.disagreements),
        )
        tables = write_shard(self._files, self._root, inferred.shard.number, rows)
        seconds = (*inferred.seconds, perf_counter() - begun)
        return Done(inferred.shard.number, count(tables), seconds)


def _mine(job: Job, inferred: InferredShard) -> Iterator[Mined]:
    row = 0
    for item, result in zip(inferred.shard.items, inferred.results, strict=True):
        if isinstance(result, Failed):
            yield failed(item, result.reason, result.detail)
            continue
        assert inferred.outputs is not None
        outline, patient = result
        boxes: BoxChoice | frozenset[str]
        boxes = "positive" if job.mode == "open" else frozenset(item.labels or ())
        try:
            localization = interpret(
                job.bundle.manifest, outline, inferred.outputs, row, boxes, job.policy
            )
            yield mine(item, localization, job.mode, patient)
        except RadiographRefused as refusal:
            yield failed(item, refusal.reason, str(refusal))
        row += 1
