"""The log of decisions: `reviews.sqlite` in the data set's folder, to which people only append.

Each row is what one reviewer decided about one mined box. Nothing is changed or deleted, which the
file itself enforces; of several rows of a reviewer about a box, the last one counts. Processes on
one machine may append at the same time.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self, get_args

from fsspec.utils import get_protocol

from localization import DISEASES

REVIEWS = "reviews.sqlite"

Action = Literal["accept", "move", "reject", "relabel", "undo"]
"""`accept`: it is the disease, as mined. `move`: it is, within other edges. `relabel`: it is
another disease, perhaps within other edges. `undo`: the reviewer has not judged it."""

WAITING_SECONDS = 60.0
"""How long a process waits while another one writes."""

NAME_LENGTH = 64
"""Characters of a reviewer's name, at most."""


class ReviewRefused(ValueError):
    """What cannot be reviewed, or judged like that; the message says why."""


@dataclass(frozen=True, slots=True)
class BoxId:
    """A mined box: the radiograph's path, the disease it was mined for, its place among them."""

    path: str
    disease: str
    box: int


@dataclass(frozen=True, slots=True)
class Edges:
    """A rectangle in pixels of the radiograph, origin top left."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reviewer decided about a box."""

    reviewer: str
    of: BoxId
    action: Action
    edges: Edges | None = None
    """Of the box as it should be; None where it is rejected or undone."""
    new_disease: str | None = None
    """Of a relabelled box."""

    def __post_init__(self) -> None:
        """Raises `ReviewRefused` where the parts do not go together."""
        if not self.reviewer.strip() or len(self.reviewer) > NAME_LENGTH:
            raise ReviewRefused(f"A reviewer has a name of 1 to {NAME_LENGTH} characters.")
        if (self.edges is None) != (self.action in ("reject", "undo")):
            raise ReviewRefused("A box that is kept has edges; one that is not has none.")
        if (self.new_disease is None) != (self.action != "relabel"):
            raise ReviewRefused("A relabelled box, and no other, has a new disease.")
        if self.new_disease is not None and self.new_disease not in DISEASES:
            raise ReviewRefused(f"No such disease; there are: {', '.join(DISEASES)}.")
        if self.new_disease == self.of.disease:
            raise ReviewRefused("A box that keeps its disease is accepted or moved.")

    @property
    def keeps(self) -> bool:
        """Whether the box stays, of whatever disease."""
        return self.edges is not None

    @property
    def disease(self) -> str | None:
        """The disease that the box shows by this decision; None if it is rejected."""
        return (self.new_disease or self.of.disease) if self.keeps else None


_ACTIONS = ", ".join(f"'{action}'" for action in get_args(Action))

# `standing` are the decisions that count. An insertion that names an id which is there could
# replace that row: hence the third trigger.
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    reviewer TEXT NOT NULL,
    path TEXT NOT NULL,
    disease TEXT NOT NULL,
    box INTEGER NOT NULL,
    action TEXT NOT NULL CHECK (action IN ({_ACTIONS})),
    x REAL, y REAL, width REAL, height REAL,
    new_disease TEXT
);
CREATE INDEX IF NOT EXISTS decisions_of_a_box ON decisions (path, disease, box, reviewer, id);
CREATE INDEX IF NOT EXISTS decisions_of_a_reviewer ON decisions (reviewer, id);
CREATE TRIGGER IF NOT EXISTS decisions_do_not_change BEFORE UPDATE ON decisions
    BEGIN SELECT RAISE(ABORT, 'decisions are appended, never changed'); END;
CREATE TRIGGER IF NOT EXISTS decisions_do_not_go BEFORE DELETE ON decisions
    BEGIN SELECT RAISE(ABORT, 'decisions are appended, never deleted'); END;
CREATE TRIGGER IF NOT EXISTS decisions_are_not_replaced BEFORE INSERT ON decisions
    WHEN EXISTS (SELECT 1 FROM decisions WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'decisions are appended, never replaced'); END;
CREATE VIEW IF NOT EXISTS standing AS
    SELECT * FROM decisions AS d WHERE action <> 'undo' AND NOT EXISTS (
        SELECT 1 FROM decisions AS later
        WHERE later.path = d.path AND later.disease = d.disease AND later.box = d.box
            AND later.reviewer = d.reviewer AND later.id > d.id
    );
"""

COLUMNS = "reviewer, path, disease, box, action, x, y, width, height, new_disease"


class Log:
    """The decisions about a data set, as one process has them open. Threads may share it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: Path, *, begin: bool = True) -> Self:
        """Open a folder's log; where there is none it begins.

        Raises:
            ReviewRefused: there is none, and it is not to ``begin`` here; or it is no log that
                can be read and written.
        """
        if not begin and not (folder / REVIEWS).exists():
            raise ReviewRefused(f"{folder} holds no {REVIEWS}: nobody has reviewed it yet.")
        try:
            return cls(_connect(folder / REVIEWS))
        except sqlite3.Error as error:
            raise ReviewRefused(f"{folder / REVIEWS} cannot be opened: {error}.") from error

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


def _connect(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(
        file,
        timeout=WAITING_SECONDS,
        isolation_level=None,  # transactions begin where the code says so
        check_same_thread=False,
    )
    _log_ahead(database)
    database.execute("PRAGMA synchronous = FULL")  # outlives a failing power supply
    database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    return database


def _log_ahead(database: sqlite3.Connection) -> None:
    """Let readers and writers not wait for each other.

    Where several processes begin a log at the same moment, SQLite refuses this change at once,
    whatever the timeout.
    """
    give_up = time.monotonic() + WAITING_SECONDS
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.02)


def to_decision(
    row: tuple[str, str, str, int, Action, float, float, float, float, str],
) -> Decision:
    """A row of `COLUMNS` as a decision."""
    reviewer, path, disease, box, action, x, y, width, height, new_disease = row
    edges = None if x is None else Edges(x, y, width, height)
    return Decision(reviewer, BoxId(path, disease, box), action, edges, new_disease)


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
