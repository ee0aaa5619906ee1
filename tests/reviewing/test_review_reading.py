"""A log that is only read: nothing is written to it, so it may lie where nothing can be."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from review_helpers import MASS, MINED

from harvesting.dataset import Dataset
from reviewing.agreement import measure_agreement
from reviewing.decisions import Decision, ReviewRefused
from reviewing.export import export_reviewed
from reviewing.index import build_index, require_index
from reviewing.log import Log
from reviewing.log_file import REVIEWS

NOBODY = 65534
"""The user id of no one in particular."""


@pytest.fixture
def judged(folder: Path, dataset: Dataset) -> Path:
    """A folder whose log nobody has open."""
    with Log.open(folder) as log:
        build_index(log, dataset)
        for name in ("ann", "ben"):
            log.append(Decision(name, MASS, "accept", MINED[MASS]))
    return folder


@contextmanager
def without_rights() -> Iterator[None]:
    """For root, who may write everywhere: as someone else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def locked(judged: Path) -> Iterator[Callable[[], Path]]:
    """Gives the same folder where everyone may read and no one may write."""
    copies = []

    def lock() -> Path:
        copies.append(Path(tempfile.mkdtemp()))
        copy = shutil.copytree(judged, copies[-1] / "harvested")
        for path in (*copy.rglob("*"), copy):
            path.chmod(0o555 if path.is_dir() else 0o444)
        copies[-1].chmod(0o555)
        return copy

    yield lock
    for copy in copies:
        for path in (copy, *(each for each in copy.rglob("*") if each.is_dir())):
            path.chmod(0o755)
        shutil.rmtree(copy)


def test_what_only_reads_leaves_the_log_as_it_is(judged: Path, tmp_path: Path) -> None:
    # Opened to append, it would become one with a file beside it.
    database = sqlite3.connect(judged / REVIEWS)
    database.execute("PRAGMA journal_mode = DELETE")
    database.close()
    before = {path: path.read_bytes() for path in judged.rglob("*") if path.is_file()}
    with Log.open_to_read(judged) as log:
        assert len(measure_agreement(log)) == 1
        export_reviewed(Dataset.open(str(judged)), log, str(tmp_path / "out"), "drop", [])
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            log.append(Decision("cat", MASS, "reject"))
    assert {path: path.read_bytes() for path in judged.rglob("*") if path.is_file()} == before


def test_where_nothing_can_be_written_it_is_read(
    locked: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = locked()
    with without_rights(), Log.open_to_read(folder) as log:
        require_index(log, Dataset.open(str(folder)))
        assert len(measure_agreement(log)) == 1
    assert sorted(file.name for file in folder.glob("reviews*")) == [REVIEWS]


def test_where_nothing_can_be_written_what_an_open_log_holds_is_read_too(
    judged: Path, locked: Callable[[], Path]
) -> None:
    with Log.open(judged) as log:
        log.append(Decision("cat", MASS, "reject"))
        folder = locked()
    with without_rights(), Log.open_to_read(folder) as log:
        assert len(measure_agreement(log)) == 3


def test_a_log_that_no_review_began_is_not_exported(folder: Path, tmp_path: Path) -> None:
    with Log.open(folder) as log:
        log.append(Decision("ann", MASS, "reject"))
    with Log.open_to_read(folder) as log, pytest.raises(ReviewRefused, match="never reviewed"):
        export_reviewed(Dataset.open(str(folder)), log, str(tmp_path / "out"), "drop", [])
    assert not (tmp_path / "out").exists()
