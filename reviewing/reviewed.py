"""The rows of a shard as its reviewers left them."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Literal

import numpy as np

from harvesting.rows import FindingRow, RadiographRow, Rows, decode_heatmap, encode_heatmap
from localization import DISEASES, Box, Finding
from reviewing.decisions import BoxId, Decision
from reviewing.verdict import Verdict, decide

Unjudged = Literal["drop", "keep"]
"""What becomes of boxes that nobody has judged. `drop`: they stay out, and so do radiographs none
of whose boxes was judged. `keep`: they stay as they were mined."""


def review(
    mined: Rows,
    decisions: Mapping[BoxId, list[Decision]],
    thresholds: Mapping[str, float],
    unjudged: Unjudged,
) -> tuple[Rows, Counter[str]]:
    """Bring decisions to a shard's rows.

    Args:
        mined: the shard's rows.
        decisions: that stand about its boxes.
        thresholds: operating points, for boxes that are relabelled to a
            disease that was not mined in their radiograph.
        unjudged: see `Unjudged`.

    Returns:
        The rows, and how many boxes had each verdict; of the kept ones, how many are `relabelled`.
        A finding that exists by a relabelled box alone has a heat map of zeros: none was mined.
    """
    verdicts = {
        of: decide(decisions.get(of, ())) for finding in mined.findings for of, _ in _boxes(finding)
    }
    judged = {of.path for of in decisions}
    radiographs = [row for row in mined.radiographs if unjudged == "keep" or row.path in judged]
    by_path: defaultdict[str, list[FindingRow]] = defaultdict(list)
    for finding in mined.findings:
        by_path[finding.path].append(finding)
    findings = [
        finding
        for row in radiographs
        for finding in _review_one(row, by_path[row.path], verdicts, thresholds, unjudged)
    ]
    shown = {row.path for row in radiographs}
    disagreements = tuple(row for row in mined.disagreements if row.path in shown)
    return Rows(tuple(radiographs), tuple(findings), disagreements), _count(verdicts)


def _boxes(finding: FindingRow) -> Iterator[tuple[BoxId, Box]]:
    for place, box in enumerate(finding.boxes):
        yield BoxId(finding.path, finding.disease, place), box


def _count(verdicts: Mapping[BoxId, Verdict]) -> Counter[str]:
    counts: Counter[str] = Counter(verdict.outcome for verdict in verdicts.values())
    counts["relabelled"] = sum(
        verdict.disease not in (None, of.disease) for of, verdict in verdicts.items()
    )
    return counts


def _review_one(
    radiograph: RadiographRow,
    mined: list[FindingRow],
    verdicts: Mapping[BoxId, Verdict],
    thresholds: Mapping[str, float],
    unjudged: Unjudged,
) -> Iterator[FindingRow]:
    """The findings of a radiograph that have boxes now, in the order of `DISEASES`."""
    boxes: defaultdict[str, list[Box]] = defaultdict(list)
    for finding in mined:
        for of, box in _boxes(finding):
            verdict = verdicts[of]
            if verdict.disease is not None and verdict.edges is not None:
                boxes[verdict.disease].append(replace(box, **asdict(verdict.edges)))
            elif verdict.outcome == "unjudged" and unjudged == "keep":
                boxes[of.disease].append(box)
    found = {finding.disease: finding for finding in mined}
    for disease in DISEASES:
        if boxes[disease]:
            row = found.get(disease) or _new(radiograph, disease, mined[0], thresholds)
            best_first = sorted(boxes[disease], key=lambda box: -box.score)
            yield replace(row, boxes=tuple(best_first))
        elif unjudged == "keep" and disease in found and not found[disease].boxes:
            yield found[disease]  # There was nothing to judge.


def _new(
    radiograph: RadiographRow, disease: str, other: FindingRow, thresholds: Mapping[str, float]
) -> FindingRow:
    """A finding that no one mined, of a radiograph that has another one."""
    assert radiograph.probabilities is not None  # it was localized
    nothing = np.zeros_like(decode_heatmap(other.heatmap))
    probability = radiograph.probabilities[DISEASES.index(disease)]
    threshold = thresholds[disease]
    heatmap = encode_heatmap(Finding(disease, probability, threshold, nothing, (), nothing[None]))
    labelled = radiograph.labelled(disease)
    return FindingRow(radiograph.path, disease, probability, threshold, labelled, (), heatmap)
