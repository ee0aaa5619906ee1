"""Archives of tiny radiographs, and harvests of them without a command line."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

import cv2
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from harvesting.dataset import Dataset
from harvesting.harvest import Harvest, settle_compute
from harvesting.limits import Limits
from harvesting.local import Engine, local_engine
from harvesting.options import Options
from harvesting.shard import Done
from localization import ModelBundle


def png(level: int = 128, side: int = 64) -> bytes:
    """A PNG of one level with a black corner: a tiny bundle's probability is about its mean."""
    pixels = np.full((side, side), level, np.uint8)
    pixels[:8, :8] = 0
    return cv2.imencode(".png", pixels)[1].tobytes()


def fill(folder: Path, count: int, start: int = 0) -> Path:
    """A folder of so many PNGs of different levels."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(start, start + count):
        (folder / f"{k:05d}.png").write_bytes(png(60 + k % 190))
    return folder


def options(source: object, out: object, bundle: Path, **more: Any) -> Options:
    """Of a harvest by a tiny bundle on the CPU."""
    graph, compute = settle_compute(ModelBundle.load(bundle), "cpu")
    return Options(str(source), str(out), graph, compute, **{"shard_size": 50, **more})


def harvest(
    source: object,
    out: object,
    bundle: Path,
    report: Callable[[Done], None] = lambda done: None,
    files: LocalFileSystem | None = None,
    engine: Engine | None = None,
    limits: Limits | None = None,
    **more: Any,
) -> Dataset:
    """Harvest, by two processes unless by another engine; `files` read in place of the source's
    own file system."""
    begun = Harvest.open(options(source, out, bundle, **more))
    if files is not None:
        own = replace(begun.job.source, files=files)
        begun = replace(begun, job=replace(begun.job, source=own))
    if limits is not None:
        begun = replace(begun, job=replace(begun.job, limits=limits))
    begun.work(engine or local_engine(2), report)
    return Dataset.open(str(out))


def rows(dataset: Dataset) -> dict[str, list[Any]]:
    """All rows of a data set."""
    return {
        table: [row for shard in dataset.shards() for row in getattr(dataset, table)(shard)]
        for table in ("radiographs", "findings", "disagreements")
    }


def parquet(out: Path) -> dict[str, bytes]:
    """Every Parquet file of a data set."""
    return {str(f.relative_to(out)): f.read_bytes() for f in sorted(out.rglob("*.parquet"))}


class KillingFiles(LocalFileSystem):
    """A file whose name says so kills the process that reads it, as a broken decoder would."""

    def cat_file(self, path: str, start: Any = None, end: Any = None, **kwargs: Any) -> bytes:
        if "killer" in path:
            os.kill(os.getpid(), signal.SIGKILL)
        content: bytes = super().cat_file(path, start, end, **kwargs)
        return content


class HangingFiles(LocalFileSystem):
    """A file whose name says so is read for ever."""

    def cat_file(self, path: str, start: Any = None, end: Any = None, **kwargs: Any) -> bytes:
        while "hanger" in path:
            sleep(1)
        content: bytes = super().cat_file(path, start, end, **kwargs)
        return content


class FailingFiles(LocalFileSystem):
    """A file system with a fault that no one foresaw."""

    def cat_file(self, path: str, start: Any = None, end: Any = None, **kwargs: Any) -> bytes:
        raise ZeroDivisionError("a message that may quote a patient")
