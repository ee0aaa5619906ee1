"""What becomes of a box by the last decisions of all who judged it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from reviewing.decisions import Decision, Edges

Outcome = Literal["kept", "rejected", "tied", "unjudged"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What reviewers make of a box together."""

    outcome: Outcome
    disease: str | None = None
    """Of a kept box."""
    edges: Edges | None = None
    """Of a kept box."""


RULE = "majority"
"""Each reviewer's last decision is a vote: for the disease that it gives the box, or for none.
What more than half of them vote for holds; where nothing has more than half, the box is tied, and
stays out. A kept box has the medians of the edges that those who voted for its disease gave it."""


def decide(decisions: Sequence[Decision]) -> Verdict:
    """The verdict by `RULE` over standing decisions about one box, at most one per reviewer."""
    if not decisions:
        return Verdict("unjudged")
    [(disease, votes)] = Counter(each.disease for each in decisions).most_common(1)
    if 2 * votes <= len(decisions):
        return Verdict("tied")
    if disease is None:
        return Verdict("rejected")
    given = [each.edges for each in decisions if each.edges and each.disease == disease]
    return Verdict("kept", disease, _median(given))


def _median(given: Sequence[Edges]) -> Edges:
    if len(given) == 1:
        return given[0]
    left, top = median(each.x for each in given), median(each.y for each in given)
    right = median(each.x + each.width for each in given)
    bottom = median(each.y + each.height for each in given)
    return Edges(left, top, right - left, bottom - top)
