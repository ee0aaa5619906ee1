"""Decisions: what one reviewer said of one mined box. Of several about the same box, the last one
of each reviewer counts."""

from dataclasses import dataclass
from typing import Literal

from localization import DISEASES

Action = Literal["accept", "move", "reject", "relabel", "undo"]
"""`accept`: it is the disease, as mined. `move`: it is, within other edges. `relabel`: it is
another disease, perhaps within other edges. `undo`: the reviewer has not judged it."""

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


COLUMNS = "reviewer, path, disease, box, action, x, y, width, height, new_disease"
"""Of a decision in the log."""


def to_decision(
    row: tuple[str, str, str, int, Action, float, float, float, float, str],
) -> Decision:
    """A row of `COLUMNS` as a decision."""
    reviewer, path, disease, box, action, x, y, width, height, new_disease = row
    edges = None if x is None else Edges(x, y, width, height)
    return Decision(reviewer, BoxId(path, disease, box), action, edges, new_disease)
