"""How far reviewers agree, pair by pair, by what each decided last."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from reviewing.decisions import COLUMNS, Decision, Edges, to_decision
from reviewing.log import Log


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two reviewers, on the boxes that both have judged. A box is kept by whoever accepts,
    moves or relabels it."""

    reviewers: tuple[str, str]
    boxes: int
    """Judged by both."""
    agreement: float
    """The share of them that both keep or both reject, in [0, 1]."""
    kappa: float | None
    """Cohen's kappa of keeping and rejecting, in [-1, 1]; None where chance alone would have both
    agree always, because they decided nothing but one of the two."""
    same_disease: float | None
    """Of the boxes that both keep, the share to which they give the same disease."""
    moved: int
    """Boxes that both keep and at least one of them moved."""
    iou: float | None
    """The mean intersection over union of the two boxes in these, in [0, 1]."""


def iou(a: Edges, b: Edges) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    common = max(0.0, across) * max(0.0, down)
    return common / (a.width * a.height + b.width * b.height - common)


def cohens_kappa(both: int, first: int, second: int, neither: int) -> float | None:
    """Cohen's kappa of two raters and two categories, from how often both, only the first, only
    the second or neither chose the one of them.

    Agreement beyond chance, as a share of what there is beyond chance: (po - pe) / (1 - pe) (Cohen,
    "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20,
    1960). None where pe is 1.
    """
    count = both + first + second + neither
    ones, others = (both + first) * (both + second), (neither + first) * (neither + second)
    chance = ones + others  # of count**2
    if chance == count**2:
        return None
    return (count * (both + neither) - chance) / (count**2 - chance)


def measure_agreement(log: Log) -> list[Agreement]:
    """The agreement of each pair of reviewers who have judged the same box, by their names."""
    pairs: dict[tuple[str, str], _Pair] = {}
    for first, second in _judged_by_two(log):
        pairs.setdefault((first.reviewer, second.reviewer), _Pair()).add(first, second)
    return [pairs[names].measure(names) for names in sorted(pairs)]


@dataclass(slots=True)
class _Pair:
    """The counts of a pair."""

    both: int = 0
    first: int = 0
    second: int = 0
    neither: int = 0
    same: int = 0
    overlaps: list[float] = field(default_factory=list)

    def add(self, first: Decision, second: Decision) -> None:
        if first.edges is None or second.edges is None:
            self.first += first.keeps
            self.second += second.keeps
            self.neither += not first.keeps and not second.keeps
            return
        self.both += 1
        self.same += first.disease == second.disease
        if "move" in (first.action, second.action) or first.edges != second.edges:
            self.overlaps.append(iou(first.edges, second.edges))

    def measure(self, reviewers: tuple[str, str]) -> Agreement:
        boxes = self.both + self.first + self.second + self.neither
        return Agreement(
            reviewers,
            boxes,
            (self.both + self.neither) / boxes,
            cohens_kappa(self.both, self.first, self.second, self.neither),
            self.same / self.both if self.both else None,
            len(self.overlaps),
            sum(self.overlaps) / len(self.overlaps) if self.overlaps else None,
        )


def _judged_by_two(log: Log) -> Iterator[tuple[Decision, Decision]]:
    columns = [f"{side}.{name}" for side in ("a", "b") for name in COLUMNS.split(", ")]
    half = len(columns) // 2
    with log.transaction("DEFERRED") as database:
        for row in database.execute(
            f"SELECT {', '.join(columns)} FROM standing AS a JOIN standing AS b "
            "USING (path, disease, box) WHERE a.reviewer < b.reviewer"
        ):
            yield to_decision(row[:half]), to_decision(row[half:])
