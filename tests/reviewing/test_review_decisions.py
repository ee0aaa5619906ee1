"""The log keeps every decision, changes none, and loses none to whoever else appends."""

import multiprocessing
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from review_helpers import MASS, MINED, NODULE

from reviewing.decisions import BoxId, Decision, Edges, ReviewRefused
from reviewing.log import Log, local_folder
from reviewing.log_file import REVIEWS

EACH = 1000
Judge = Callable[..., int]


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(folder / REVIEWS)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def append_many(folder: Path, reviewer: str) -> None:
    with Log.open(folder) as log:
        for box in range(EACH):
            log.append(Decision(reviewer, BoxId("a.png", "Mass", box), "accept", MINED[MASS]))


def test_a_decision_is_a_row_with_its_time(folder: Path, judge: Judge) -> None:
    judge("ann", MASS, "relabel", Edges(1, 2, 3, 4), "Nodule")
    [(at, *row)] = rows(
        folder,
        "SELECT at, id, reviewer, path, disease, box, action, x, y, width, height, new_disease "
        "FROM decisions",
    )
    assert row == [1, "ann", "a.png", "Mass", 0, "relabel", 1, 2, 3, 4, "Nodule"]
    age = datetime.now(UTC) - datetime.fromisoformat(str(at))
    assert 0 <= age.total_seconds() < 60


@pytest.mark.timeout(240)  # 4,000 times to the disk, which others may be using
def test_two_processes_and_two_threads_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    names = ["ann", "ben", "cat", "dan"]
    workers = [
        *(context.Process(target=append_many, args=(tmp_path, name)) for name in names[:2]),
        *(threading.Thread(target=append_many, args=(tmp_path, name)) for name in names[2:]),
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(200)
    counts = rows(tmp_path, "SELECT reviewer, count(*) FROM decisions GROUP BY 1 ORDER BY 1")
    assert counts == [(name, EACH) for name in names]


def test_threads_share_an_open_log(log: Log, folder: Path) -> None:
    def append(name: str) -> None:
        for box in range(200):
            log.append(Decision(name, BoxId("a.png", "Mass", box), "reject"))

    threads = [threading.Thread(target=append, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert rows(folder, "SELECT count(*) FROM decisions") == [(800,)]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE decisions SET action = 'reject'",
        "DELETE FROM decisions",
        "INSERT OR REPLACE INTO decisions SELECT * FROM decisions",
        "REPLACE INTO decisions SELECT id, at, 'eve', path, disease, box, action, x, y, width, "
        "height, new_disease FROM decisions",
    ],
)
def test_no_one_changes_a_row(folder: Path, judge: Judge, change: str) -> None:
    judge("ann", MASS, "accept")
    with pytest.raises(sqlite3.IntegrityError, match="appended, never"):
        rows(folder, change)
    assert rows(folder, "SELECT reviewer, action FROM decisions") == [("ann", "accept")]


def test_the_last_decision_counts_and_undo_takes_it_back(log: Log, judge: Judge) -> None:
    judge("ann", MASS, "accept")
    judge("ben", MASS, "reject")
    judge("ann", NODULE, "accept")
    judge("ann", MASS, "reject")
    last = log.last("ann")
    assert last is not None
    assert (last.of, last.action) == (MASS, "reject")
    judge("ann", MASS, "undo")
    last = log.last("ann")
    assert last is not None
    assert last.of == NODULE  # all that ann said about the mass is taken back
    judge("ann", NODULE, "undo")
    assert log.last("ann") is None
    assert log.last("ben") is not None


def test_what_was_appended_is_there_when_it_is_opened_again(folder: Path, judge: Judge) -> None:
    judge("ann", MASS, "accept")
    with Log.open_to_read(folder) as again:
        assert again.last("ann") == Decision("ann", MASS, "accept", MINED[MASS])


def test_a_log_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReviewRefused, match="nobody has reviewed"):
        Log.open_to_read(tmp_path)
    assert not (tmp_path / REVIEWS).exists()


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        (("", MASS, "reject"), "name"),
        (("a" * 65, MASS, "reject"), "name"),
        (("ann", MASS, "accept"), "edges"),
        (("ann", MASS, "reject", MINED[MASS]), "edges"),
        (("ann", MASS, "relabel", MINED[MASS]), "new disease"),
        (("ann", MASS, "accept", MINED[MASS], "Nodule"), "new disease"),
        (("ann", MASS, "relabel", MINED[MASS], "Measles"), "No such disease"),
        (("ann", MASS, "relabel", MINED[MASS], "Mass"), "keeps its disease"),
    ],
)
def test_what_does_not_go_together_is_refused(decision: tuple[object, ...], why: str) -> None:
    with pytest.raises(ReviewRefused, match=why):
        Decision(*decision)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["s3://bucket/set", "https://host/set", "memory://set"])
def test_only_a_local_folder_is_reviewed(url: str) -> None:
    with pytest.raises(ReviewRefused, match="this machine's disk"):
        local_folder(url)


def test_a_local_folder_may_be_written_as_a_url(tmp_path: Path) -> None:
    assert local_folder(str(tmp_path)) == local_folder(f"file://{tmp_path}") == tmp_path
