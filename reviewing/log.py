"""The log of decisions: `reviews.sqlite` in the data set's folder, to which people only append.

Nothing is changed or deleted, which the file itself enforces. Processes on one machine may append
at the same time.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from fsspec.utils import get_protocol

from reviewing.decisions import COLUMNS, Decision, ReviewRefused, to_decision
from reviewing.log_file import REVIEWS, connect, connect_to_read


class Log:
    """The decisions about a data set, as one process has them open. Threads may share it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a folder's log to append to it; where there is none it begins.

        Raises:
            ReviewRefused: it is no log that can be read and written.
        """
        return cls(_connected(connect, folder / REVIEWS))

    @classmethod
    def open_to_read(cls, folder: Path) -> Self:
        """Open a folder's log, which need not be writable.

        Raises:
            ReviewRefused: there is none, or it is no log that can be read.
        """
        if not (folder / REVIEWS).exists():
            raise ReviewRefused(f"{folder} holds no {REVIEWS}: nobody has reviewed it yet.")
        return cls(_connected(connect_to_read, folder / REVIEWS))

    def close(self) -> None:
        """Close it; it is not used any more."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, decision: Decision) -> int:
        """Append a decision; once this returns its id, it is on the disk."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        edges = astuple(decision.edges) if decision.edges else (None,) * 4
        of = decision.of
        with self.connection() as database:
            cursor = database.execute(
                f"INSERT INTO decisions (at, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(now, decision.reviewer, of.path, of.disease, of.box),
                    *(decision.action, *edges, decision.new_disease),
                ),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def last(self, reviewer: str) -> Decision | None:
        """The reviewer's last decision that stands; None where none does."""
        with self.connection() as database:
            row = database.execute(
                f"SELECT {COLUMNS} FROM standing WHERE reviewer = ? ORDER BY id DESC LIMIT 1",
                (reviewer,),
            ).fetchone()
        return None if row is None else to_decision(row)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """The database, for one thread at a time."""
        with self._lock:
            yield self._database

    @contextmanager
    def transaction(self, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[sqlite3.Connection]:
        """The database within a transaction: one that reads sees no later decision, and one that
        writes (`IMMEDIATE`) leaves all or nothing."""
        with self.connection() as database:
            database.execute(f"BEGIN {kind}")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")


def _connected(how: Callable[[Path], sqlite3.Connection], file: Path) -> sqlite3.Connection:
    try:
        return how(file)
    except sqlite3.Error as error:
        raise ReviewRefused(f"{file} cannot be opened: {error}.") from error


def local_folder(url: str) -> Path:
    """The folder of a data set that is on this machine's disk.

    Raises:
        ReviewRefused: it is elsewhere. SQLite's log needs a disk, and its locks.
    """
    if get_protocol(url) not in ("file", "local"):
        raise ReviewRefused(
            f"{url} is not on this machine's disk, which a log of decisions needs: "
            "copy the data set into a folder, and review it there."
        )
    return Path(url.removeprefix("file://").removeprefix("local://"))
