"""What a failed power supply or a partial copy leaves of a data set, and how a run goes on."""

import os
import shutil
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from harvest_helpers import fill, harvest, options, parquet

from harvesting.harvest import Harvest
from harvesting.storage import write
from harvesting.tables import TABLES, part


@pytest.mark.parametrize("lost", TABLES)
def test_a_shard_that_lacks_a_table_is_not_complete_and_is_worked_on_again(
    lost: str, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = fill(tmp_path / "archive", 100), tmp_path / "out"

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut_short:
        cut_short.setattr("harvesting.harvest.write_exports", cut)
        with pytest.raises(KeyboardInterrupt):
            harvest(folder, out, tiny_bundle)
    whole = parquet(out)
    shutil.rmtree((out / part(lost, 1)).parent)  # type: ignore[arg-type]
    begun = Harvest.open(options(folder, out, tiny_bundle))
    assert begun.complete == {0}
    assert begun.remaining_files == 50
    finished = harvest(folder, out, tiny_bundle)
    assert parquet(out) == whole
    assert finished.run.counts is not None
    assert finished.run.counts.radiographs == 100


def test_names_of_files_and_new_folders_are_on_the_disk_once_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, synced = tmp_path / "new" / "deep" / "file", []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), target.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write(LocalFileSystem(), str(target), b"content")
    assert target.read_bytes() == b"content"
    assert (str(target.parent), True) in synced
    for folder in (tmp_path, tmp_path / "new"):
        assert (str(folder), False) in synced
