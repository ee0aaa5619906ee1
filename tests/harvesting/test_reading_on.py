"""A compressed archive is decompressed once by each process, whatever its shards."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from harvest_helpers import fill, options

from harvesting.harvest import Harvest
from harvesting.items import ItemUnreadable
from harvesting.plan import Plan
from harvesting.preparation import Prepare, prepare_alone
from harvesting.reader import Reader
from harvesting.shard import Failed, Job, Prepared


class CountingFiles(LocalFileSystem):
    """Counts how often archives are opened; each is then read from its start."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.opened = 0

    def open(self, path: str, *args: Any, **kwargs: Any) -> Any:
        self.opened += path.endswith(".tar.gz")
        return super().open(path, *args, **kwargs)


@pytest.fixture
def packed(tmp_path: Path, tiny_bundle: Path) -> tuple[Job, Plan, CountingFiles]:
    """A run over 60 members of a compressed tar, in shards of five, of which nothing is read."""
    folder = fill(tmp_path / "images", 60)
    shutil.make_archive(str(tmp_path / "images"), "gztar", folder)
    asked = options(tmp_path / "images.tar.gz", tmp_path / "out", tiny_bundle, shard_size=5)
    begun, files = Harvest.open(asked), CountingFiles()
    return replace(begun.job, source=replace(begun.job.source, files=files)), begun.plan, files


def same(one: Prepared | Failed, other: Prepared | Failed) -> bool:
    assert isinstance(one, Prepared)
    assert isinstance(other, Prepared)
    return np.array_equal(one.pixels, other.pixels)


def test_shards_of_a_process_read_on_in_one_pass(packed: tuple[Job, Plan, CountingFiles]) -> None:
    job, plan, files = packed
    prepare = Prepare(job)
    found = [one for n in range(plan.shards) for one in prepare(plan.shard(n)).results]
    prepare.close()
    assert files.opened == 1
    # A reader that has seen nothing before gives the same, from the last shard to the first.
    for number in reversed(range(plan.shards)):
        fresh = Prepare(job)
        results = fresh(plan.shard(number)).results
        fresh.close()
        assert all(map(same, results, found[number * 5 :]))


def test_threads_that_share_a_stage_read_in_as_many_passes(
    packed: tuple[Job, Plan, CountingFiles],
) -> None:
    job, plan, files = packed
    one, shared = Prepare(job), Prepare(job)
    alone = [one(plan.shard(n)).results for n in range(plan.shards)]
    files.opened = 0
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda n: shared(plan.shard(n)).results, range(plan.shards)))
    one.close()
    shared.close()
    assert 1 <= files.opened <= 3
    for results, others in zip(alone, together, strict=True):
        assert all(map(same, results, others))


def test_items_that_one_process_reads_alone_are_read_in_one_pass(
    packed: tuple[Job, Plan, CountingFiles],
) -> None:
    job, plan, files = packed
    alone = prepare_alone(job)
    found = [alone(item) for n in range(plan.shards) for item in plan.shard(n).items]
    assert all(isinstance(one, Prepared) for one in found)
    assert files.opened == 1


def test_what_a_failed_read_leaves_changes_nothing_that_is_read_later(
    packed: tuple[Job, Plan, CountingFiles],
) -> None:
    job, plan, files = packed
    first, second, *_ = plan.shard(0).items
    reader = Reader(job.source)
    whole = reader.read(second)
    beyond = replace(first, offset=10**9, size=7)
    with pytest.raises(ItemUnreadable, match="ends before"):
        reader.read(beyond)
    assert files.opened == 1
    assert reader.read(second) == whole
    assert files.opened == 2
    reader.close()
