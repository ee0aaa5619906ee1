"""`reviews.sqlite`: its schema, and connections to it."""

import os
import sqlite3
import time
from pathlib import Path
from typing import get_args

from reviewing.decisions import Action

REVIEWS = "reviews.sqlite"

WAITING_SECONDS = 60.0
"""How long a process waits while another one writes."""

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


def connect(file: Path) -> sqlite3.Connection:
    """Connect to a log to append to it; where there is none it begins. Raises `sqlite3.Error`."""
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


def connect_to_read(file: Path) -> sqlite3.Connection:
    """Connect to a log that is there; nothing is written to it. Raises `sqlite3.Error`."""
    database = sqlite3.connect(
        f"{file.resolve().as_uri()}?{_access(file)}",
        uri=True,
        timeout=WAITING_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    database.execute("PRAGMA query_only = TRUE")
    # What is no log is found out now.
    database.execute("SELECT id FROM standing LIMIT 0")
    return database


def _access(file: Path) -> str:
    """How SQLite may use the files: it keeps two of its own beside a log that is open, and takes
    them away again, where it can write. Where it cannot, and no other process has the log open, it
    has to be told that nothing changes."""
    if all(os.access(each, os.W_OK, effective_ids=True) for each in (file, file.parent)):
        return "mode=rw"
    open_elsewhere = file.with_name(f"{file.name}-wal").exists()
    return "mode=ro" if open_elsewhere else "mode=ro&immutable=1"
