"""The mined boxes as a table beside the log, so that millions of them need no memory.

It is derived from the data set once, when that is first reviewed; `id` counts the boxes from the
most uncertain one on.
"""

import sqlite3
from collections.abc import Iterator
from hashlib import sha256

from harvesting.dataset import Dataset
from harvesting.rows import FindingRow
from reviewing.decisions import ReviewRefused
from reviewing.log import Log
from reviewing.log_file import REVIEWS

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS dataset (identity TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS boxes (
        id INTEGER PRIMARY KEY, shard INTEGER NOT NULL, path TEXT NOT NULL, disease TEXT NOT NULL,
        box INTEGER NOT NULL, uncertainty REAL NOT NULL, disputed INTEGER NOT NULL
    )""",
    "CREATE UNIQUE INDEX IF NOT EXISTS boxes_by_name ON boxes (path, disease, box)",
    "CREATE INDEX IF NOT EXISTS boxes_by_shard ON boxes (shard)",
    "CREATE INDEX IF NOT EXISTS boxes_by_disease ON boxes (disease, id)",
    "CREATE INDEX IF NOT EXISTS boxes_by_dispute ON boxes (disputed DESC, id)",
    "CREATE INDEX IF NOT EXISTS boxes_by_both ON boxes (disease, disputed DESC, id)",
)

_Row = tuple[int, str, str, int, float, bool]


def uncertainty(finding: FindingRow) -> float:
    """How near a finding's probability is to its disease's operating point, in [0, 1].

    1 at the operating point, 0 at certainty: `1 - |2r - 1|`, where `r` is the probability on a
    scale whose odds are divided by those of the operating point, as the service's page draws it.
    That is the margin of uncertainty sampling (Lewis and Gale, SIGIR 1994), with the operating
    point in the place of one half, so that diseases whose operating points differ compare.
    """
    above = finding.probability * (1 - finding.threshold)
    below = finding.threshold * (1 - finding.probability)
    if above + below == 0:  # both are certain: 0 at 0, or 1 at 1
        return 1.0
    return 1 - abs(above - below) / (above + below)


def disputed(finding: FindingRow) -> bool:
    """Whether the image's labels and the model disagree; never where they leave it open."""
    return finding.labelled is not None and finding.labelled != finding.positive


def build_index(log: Log, dataset: Dataset) -> None:
    """Write the table of a data set's boxes, unless it is there.

    Raises:
        ReviewRefused: the log is of another harvest, whose boxes its decisions are about.
    """
    with log.transaction("IMMEDIATE") as database:
        for statement in _SCHEMA:
            database.execute(statement)
        if not _is_there(database, dataset):
            _fill(database, dataset)
            database.execute("INSERT INTO dataset VALUES (?)", (_identity(dataset),))


def require_index(log: Log, dataset: Dataset) -> None:
    """Raises `ReviewRefused` where the table is not there, or is of another harvest."""
    with log.transaction("DEFERRED") as database:
        begun = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'dataset'").fetchone()
        if begun is None or not _is_there(database, dataset):
            raise ReviewRefused(f"{REVIEWS} was never reviewed: `cxr-localizer review` begins it.")


def _is_there(database: sqlite3.Connection, dataset: Dataset) -> bool:
    known = database.execute("SELECT identity FROM dataset").fetchone()
    if known is not None and known[0] != _identity(dataset):
        raise ReviewRefused(
            f"{REVIEWS} judges the boxes of another harvest into this folder: move it away to "
            "begin anew."
        )
    return known is not None


def _identity(dataset: Dataset) -> str:
    """What decides which boxes there are."""
    decides = {"format", "source", "mode", "model", "shards", "files", "settings"}
    return sha256(dataset.run.model_dump_json(include=decides).encode()).hexdigest()


def _fill(database: sqlite3.Connection, dataset: Dataset) -> None:
    """In the order of uncertainty; boxes that are equally uncertain in that of the archive."""
    columns = "shard, path, disease, box, uncertainty, disputed"
    database.execute(f"CREATE TEMP TABLE mined ({columns})")
    database.executemany("INSERT INTO mined VALUES (?, ?, ?, ?, ?, ?)", _rows(dataset))
    database.execute(
        f"INSERT INTO boxes ({columns}) SELECT {columns} FROM mined "
        "ORDER BY uncertainty DESC, rowid"
    )
    database.execute("DROP TABLE mined")


def _rows(dataset: Dataset) -> Iterator[_Row]:
    for shard in dataset.shards():
        for finding in dataset.findings(shard):
            name, doubt = (shard, finding.path, finding.disease), uncertainty(finding)
            for box in range(len(finding.boxes)):
                yield *name, box, doubt, disputed(finding)
