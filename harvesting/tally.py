"""What a report says of a data set, counted shard by shard: memory does not grow with it."""

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from harvesting.dataset import Dataset
from harvesting.rows import DisagreementRow, Dispute, FindingRow, RadiographRow
from localization import DISEASES
from localization.reference import BOUNDS

T = TypeVar("T")


class Best(Generic[T]):
    """The few items with the largest keys; of equal ones the first that came."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen = 0
        self._heap: list[tuple[float, int, T]] = []

    def offer(self, key: float, item: T) -> None:
        """Keep an item, if it is among the best."""
        self._seen += 1
        entry = (key, -self._seen, item)
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def __iter__(self) -> Iterator[T]:
        """The best first."""
        ordered = sorted(self._heap, key=lambda entry: entry[:2], reverse=True)
        return (item for _, _, item in ordered)


@dataclass(frozen=True, slots=True)
class Pick:
    """A finding, or a dispute about one, that a report shows."""

    radiograph: RadiographRow
    disease: str
    probability: float
    threshold: float
    finding: FindingRow | None
    """None where the disease was not mined: there is no heat map."""
    dispute: Dispute | None = None


@dataclass(frozen=True, slots=True)
class Failures:
    """All files that failed for one reason."""

    count: int
    path: str
    """Of the first of them."""
    detail: str


def margin(probability: float, threshold: float) -> float:
    """How far a probability lies above its operating point, in log-odds, by which diseases of
    different frequency compare."""
    return _log_odds(probability) - _log_odds(threshold)


def _log_odds(probability: float) -> float:
    inside = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(inside / (1 - inside))


@dataclass
class Tally:
    """Counts of a data set, and its most telling findings."""

    operating_points: Mapping[str, float]
    shown: int
    """Picks of each kind that are kept."""
    localized: int = 0
    with_labels: int = 0
    """Of the localized radiographs: those that have labels, be it none."""
    boxes: int = 0
    failures: dict[str, Failures] = field(default_factory=dict)
    warnings: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    labelled: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    """By disease: the localized radiographs whose labels say whether it is there."""
    positive: Counter[str] = field(default_factory=Counter)
    mined: Counter[str] = field(default_factory=Counter)
    mined_boxes: Counter[str] = field(default_factory=Counter)
    disputes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By disease and kind."""
    buckets: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((len(DISEASES), len(BOUNDS)), np.int64)
    )
    """Radiographs by disease and by the bucket of `BOUNDS` that holds their probability."""

    def __post_init__(self) -> None:
        self.most_certain: Best[Pick] = Best(self.shown)
        self.least_certain: Best[Pick] = Best(self.shown)
        self.most_disputed: Best[Pick] = Best(self.shown)

    @classmethod
    def of(cls, dataset: Dataset, operating_points: Mapping[str, float], shown: int) -> "Tally":
        """Count a data set, one shard at a time."""
        tally = cls(operating_points, shown)
        for shard in dataset.shards():
            tally.add(
                dataset.radiographs(shard), dataset.findings(shard), dataset.disagreements(shard)
            )
        return tally

    def add(
        self,
        radiographs: Sequence[RadiographRow],
        findings: Sequence[FindingRow],
        disagreements: Sequence[DisagreementRow],
    ) -> None:
        """Count a shard."""
        by_path = {row.path: row for row in radiographs}
        for row in radiographs:
            self._count(row)
        self._count_probabilities(
            [row.probabilities for row in radiographs if row.probabilities is not None]
        )
        mined = {(row.path, row.disease): row for row in findings}
        for finding in findings:
            self._find(by_path[finding.path], finding)
        for dispute in disagreements:
            self._dispute(
                by_path[dispute.path], dispute, mined.get((dispute.path, dispute.disease))
            )

    @property
    def failed(self) -> int:
        """Files that could not be localized."""
        return sum(each.count for each in self.failures.values())

    def _count(self, row: RadiographRow) -> None:
        if row.outcome == "failed":
            reason = str(row.reason)
            first = self.failures.get(reason) or Failures(0, row.path, row.detail or "")
            self.failures[reason] = Failures(first.count + 1, first.path, first.detail)
            return
        self.localized += 1
        self.formats[str(row.format)] += 1
        self.warnings.update(row.warnings)
        if row.labels is not None:
            self.with_labels += 1
            self.labelled.update(row.labels)
            self.known.update(disease for disease in DISEASES if disease not in row.unknown)

    def _count_probabilities(self, rows: Sequence[tuple[float, ...]]) -> None:
        probabilities = np.array(rows, float).reshape(-1, len(DISEASES))
        for index, disease in enumerate(DISEASES):
            column = probabilities[:, index]
            self.positive[disease] += int((column >= self.operating_points[disease]).sum())
            filled = np.searchsorted(BOUNDS, column)
            self.buckets[index] += np.bincount(filled, minlength=len(BOUNDS))

    def _find(self, radiograph: RadiographRow, row: FindingRow) -> None:
        self.mined[row.disease] += 1
        self.mined_boxes[row.disease] += len(row.boxes)
        self.boxes += len(row.boxes)
        above = margin(row.probability, row.threshold)
        pick = Pick(radiograph, row.disease, row.probability, row.threshold, row)
        self.most_certain.offer(above, pick)
        self.least_certain.offer(-abs(above), pick)

    def _dispute(
        self, radiograph: RadiographRow, row: DisagreementRow, finding: FindingRow | None
    ) -> None:
        self.disputes[row.disease, row.kind] += 1
        pick = Pick(radiograph, row.disease, row.probability, row.threshold, finding, row.kind)
        self.most_disputed.offer(abs(margin(row.probability, row.threshold)), pick)
