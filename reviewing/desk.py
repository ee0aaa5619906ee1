"""What one server does for those who review a data set."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2

from harvesting.dataset import Dataset
from localization import Radiograph, to_picture
from reviewing.decisions import Decision, Edges, ReviewRefused
from reviewing.index import build_index
from reviewing.log import Log
from reviewing.queue import Queue, Waiting
from reviewing.schemas import Judgement, ShownBox

Reader = Callable[[str], bytes]
"""Gives the file of a radiograph by its row's path; raises OSError where it is not there."""

ROUNDING = 0.5
"""Pixels by which a box may reach over the radiograph's edge: it is kept within."""


class RadiographMissing(Exception):
    """A radiograph that was harvested is not at its source."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A data set, its log and its radiographs. Threads may share it."""

    dataset: Dataset
    log: Log
    queue: Queue
    read: Reader

    @classmethod
    def open(cls, dataset: Dataset, log: Log, read: Reader) -> "Desk":
        """Raises `ReviewRefused` where the log is of another harvest."""
        build_index(log, dataset)
        return cls(dataset, log, Queue(log), read)

    def show(self, waiting: Waiting) -> ShownBox:
        """A box with its finding and its radiograph."""
        radiograph, findings = self.dataset.radiograph(waiting.shard, waiting.of.path)
        [finding] = [each for each in findings if each.disease == waiting.of.disease]
        return ShownBox.of(waiting, radiograph, finding)

    def picture(self, id: int) -> bytes:
        """A box's radiograph as PNG, no larger than a screen needs.

        Raises:
            NoSuchBox: there is none of this number.
            RadiographMissing: the radiograph is not at its source.
            RadiographRefused: what is there is not a radiograph any more.
        """
        try:
            data = self.read(self.queue.get(id).of.path)
        except OSError:
            raise RadiographMissing(
                "Start the review with --source FOLDER: where the harvested radiographs are now."
            ) from None
        # It was harvested: whatever the gate thinks of it, it is shown.
        pixels = to_picture(Radiograph.read(data, policy="off").pixels)
        _, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        return encoded.tobytes()

    def judge(self, id: int, judgement: Judgement) -> int:
        """Append what a reviewer decides about a box; its number in the log.

        Raises:
            NoSuchBox: there is none of this number.
            ReviewRefused: the decision is none that this box can have.
        """
        shown = self.show(waiting := self.queue.get(id))
        edges = _edges(shown, judgement)
        return self.log.append(
            Decision(judgement.reviewer, waiting.of, judgement.action, edges, judgement.new_disease)
        )

    def undo(self, reviewer: str) -> ShownBox | None:
        """Take back the reviewer's last decision; the box that it was about, if there is one."""
        last = self.log.last(reviewer)
        if last is None:
            return None
        self.log.append(Decision(reviewer, last.of, "undo"))
        return self.show(self.queue.find(last.of))


def _edges(shown: ShownBox, judgement: Judgement) -> Edges | None:
    """The edges that a decision gives a box; None where it gives it none."""
    if judgement.action == "reject":
        if judgement.edges is not None:
            raise ReviewRefused("A box that is not kept has no edges.")
        return None
    if judgement.action == "accept" and judgement.edges is not None:
        raise ReviewRefused("A box with other edges is moved, not accepted.")
    if judgement.action == "move" and judgement.edges is None:
        raise ReviewRefused("A moved box has edges.")
    if judgement.edges is None:
        return shown.edges.to_edges()
    return _within(judgement.edges.to_edges(), shown.radiograph.width, shown.radiograph.height)


def _within(edges: Edges, width: int, height: int) -> Edges:
    right, bottom = edges.x + edges.width, edges.y + edges.height
    if right > width + ROUNDING or bottom > height + ROUNDING:
        raise ReviewRefused("A box lies within its radiograph.")
    right, bottom = min(right, width), min(bottom, height)
    return Edges(edges.x, edges.y, right - edges.x, bottom - edges.y)
