"""Which box a reviewer is shown next.

First those that nobody has judged and no one else is looking at, the most uncertain first; then
those that others have judged. So reviewers share the work, and each may still judge every box.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from reviewing.decisions import BoxId
from reviewing.log import Log

Walk = Literal["uncertain", "disputed", "second"]
"""`uncertain`: the most uncertain first. `disputed`: those first on which the image's labels and
the model disagree. `second`: those alone that others have judged."""

HOLDING_SECONDS = 600.0
"""So long nobody else is shown the radiograph that a reviewer was shown."""


class NoSuchBox(LookupError):
    """The data set has no such box."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A mined box in the queue."""

    id: int
    """From the most uncertain box on."""
    shard: int
    of: BoxId
    uncertainty: float
    disputed: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a walk has come."""

    boxes: int
    """Of the walk."""
    judged: int
    """By the reviewer."""
    judged_by_anyone: int


@dataclass(slots=True)
class _Desk:
    """What lies before a reviewer."""

    paths: list[str] = field(default_factory=list)
    since: float = 0.0
    skipped: dict[int, None] = field(default_factory=dict)
    """In the order in which they come again, once nothing else is left; or at once where the
    server is started anew."""


_OF_BOX = "FROM standing AS s WHERE s.path = b.path AND s.disease = b.disease AND s.box = b.box"
_BY_ANYONE = f"EXISTS (SELECT 1 {_OF_BOX})"
_BY_ME = f"EXISTS (SELECT 1 {_OF_BOX} AND s.reviewer = :reviewer)"
# From the decisions, of which there are fewer than boxes.
_OF_OTHERS = (
    "b.id IN (SELECT o.id FROM standing AS s JOIN boxes AS o USING (path, disease, box) "
    "WHERE s.reviewer <> :reviewer)"
)
_HELD = "b.path IN (SELECT value FROM json_each(:held))"
_SKIPPED = "b.id IN (SELECT value FROM json_each(:skipped))"
_OF_DISEASE = "b.disease = :disease"

_UNCERTAIN_FIRST = "b.id"
_DISPUTED_FIRST = "b.disputed DESC, b.id"
_AS_SKIPPED = "(SELECT key FROM json_each(:skipped) WHERE value = b.id)"

_BEST_FIRST = (
    f"NOT {_BY_ANYONE} AND NOT {_HELD} AND NOT {_SKIPPED}",
    f"NOT {_BY_ME} AND NOT {_HELD} AND NOT {_SKIPPED}",
    f"NOT {_BY_ME} AND NOT {_SKIPPED}",
    f"NOT {_BY_ME} AND {_SKIPPED}",
)

_COLUMNS = "b.id, b.shard, b.path, b.disease, b.box, b.uncertainty, b.disputed"


class Queue:
    """The boxes of a data set, as those who review it by one server are shown them."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._desks: dict[str, _Desk] = {}
        self._lock = threading.Lock()

    def next(
        self, reviewer: str, walk: Walk = "uncertain", disease: str | None = None, count: int = 2
    ) -> list[Waiting]:
        """The reviewer's next boxes, at most so many; none once all of the walk are judged.

        They are held for the reviewer: others are shown other radiographs while there are any.
        """
        with self._lock:
            desk = self._desks.setdefault(reviewer, _Desk())
            found = self._find(reviewer, desk, walk, disease, count)
            desk.paths, desk.since = [each.of.path for each in found], self._clock()
        return found

    def skip(self, reviewer: str, id: int) -> None:
        """Put a box behind all others, for this reviewer."""
        with self._lock:
            skipped = self._desks.setdefault(reviewer, _Desk()).skipped
            skipped.pop(id, None)
            skipped[id] = None

    def get(self, id: int) -> Waiting:
        """A box by its id.

        Raises:
            NoSuchBox: there is none.
        """
        return self._one("b.id = :id", {"id": id})

    def find(self, of: BoxId) -> Waiting:
        """A box by its name.

        Raises:
            NoSuchBox: there is none.
        """
        name = {"path": of.path, "disease": of.disease, "box": of.box}
        return self._one("b.path = :path AND b.disease = :disease AND b.box = :box", name)

    def progress(
        self, reviewer: str, walk: Walk = "uncertain", disease: str | None = None
    ) -> Progress:
        """Count a walk's boxes."""
        boxes, parameters = [], {"reviewer": reviewer, "disease": disease}
        if walk == "second":
            boxes.append(_OF_OTHERS)
        if disease is not None:
            boxes.append(_OF_DISEASE)
        which = " AND ".join(boxes) or "TRUE"
        names = "path, disease, box"
        judged = f"FROM standing AS s JOIN boxes AS b USING ({names}) WHERE {which}"
        with self._log.connection() as database:
            (count,) = database.execute(
                f"SELECT count(*) FROM boxes AS b WHERE {which}", parameters
            ).fetchone()
            mine, anyones = database.execute(
                f"SELECT total(s.reviewer = :reviewer), count(DISTINCT b.id) {judged}", parameters
            ).fetchone()
        return Progress(count, int(mine), anyones)

    def _find(
        self, reviewer: str, desk: _Desk, walk: Walk, disease: str | None, count: int
    ) -> list[Waiting]:
        always = [_OF_OTHERS] if walk == "second" else []
        always += [_OF_DISEASE] if disease is not None else []
        usual = _DISPUTED_FIRST if walk == "disputed" else _UNCERTAIN_FIRST
        parameters = {
            "reviewer": reviewer,
            "disease": disease,
            "held": json.dumps(self._held_by_others(reviewer)),
            "skipped": json.dumps(list(desk.skipped)),
        }
        found: dict[int, Waiting] = {}
        with self._log.connection() as database:
            for condition in _BEST_FIRST:
                which = " AND ".join([condition, *always])
                order = _AS_SKIPPED if condition is _BEST_FIRST[-1] else usual
                rows = database.execute(
                    f"SELECT {_COLUMNS} FROM boxes AS b WHERE {which} ORDER BY {order} LIMIT :n",
                    {**parameters, "n": count},
                )
                for row in rows:
                    found.setdefault(row[0], _to_waiting(row))
                if len(found) >= count:
                    break
        return list(found.values())[:count]

    def _held_by_others(self, reviewer: str) -> list[str]:
        now = self._clock()
        return [
            path
            for name, desk in self._desks.items()
            if name != reviewer and now - desk.since < HOLDING_SECONDS
            for path in desk.paths
        ]

    def _one(self, which: str, parameters: dict[str, object]) -> Waiting:
        with self._log.connection() as database:
            row = database.execute(
                f"SELECT {_COLUMNS} FROM boxes AS b WHERE {which}", parameters
            ).fetchone()
        if row is None:
            raise NoSuchBox("The data set has no such box.")
        return _to_waiting(row)


def _to_waiting(row: tuple[int, int, str, str, int, float, int]) -> Waiting:
    id, shard, path, disease, box, uncertainty, disputed = row
    return Waiting(id, shard, BoxId(path, disease, box), uncertainty, bool(disputed))
