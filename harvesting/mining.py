"""From one radiograph's localization and labels to its rows."""

from collections.abc import Iterator
from typing import NamedTuple

from harvesting.items import Item
from harvesting.rows import (
    DisagreementRow,
    Dispute,
    FindingRow,
    Patient,
    RadiographRow,
    encode_heatmap,
)
from harvesting.run import Mode
from localization import DISEASES, Finding, Localization


class Mined(NamedTuple):
    """The rows of one item."""

    radiograph: RadiographRow
    findings: tuple[FindingRow, ...] = ()
    disagreements: tuple[DisagreementRow, ...] = ()


def mine(item: Item, localization: Localization, mode: Mode, patient: Patient) -> Mined:
    """What is kept of a localization: see `harvesting.run.Mode`.

    Args:
        item: with its labels.
        localization: its findings have the boxes of `drawn`.
        mode: which findings are mined.
        patient: of the row.
    """
    by_disease = {finding.disease: finding for finding in localization.findings}
    findings = [by_disease[disease] for disease in DISEASES]
    return Mined(
        _radiograph(item, localization, findings, patient),
        tuple(_finding(item, finding) for finding in findings if _is_mined(item, finding, mode)),
        tuple(_disagreements(item, findings)),
    )


def failed(item: Item, reason: str, detail: str) -> Mined:
    """The row of an item that cannot be localized."""
    row = RadiographRow(item.path, "failed", reason, detail, labels=item.labels)
    return Mined(row)


def _is_mined(item: Item, finding: Finding, mode: Mode) -> bool:
    if mode == "open":
        return finding.positive
    return finding.disease in (item.labels or ())


def _radiograph(
    item: Item, localization: Localization, findings: list[Finding], patient: Patient
) -> RadiographRow:
    facts = localization.radiograph
    return RadiographRow(
        item.path,
        "localized",
        format=facts.format,
        width=facts.width,
        height=facts.height,
        field=facts.field,
        image_left=facts.image_left,
        window=facts.window,
        typicality=facts.typicality,
        warnings=tuple(doubt.code for doubt in facts.warnings),
        labels=item.labels,
        probabilities=tuple(finding.probability for finding in findings),
        patient=patient,
    )


def _finding(item: Item, finding: Finding) -> FindingRow:
    return FindingRow(
        item.path,
        finding.disease,
        finding.probability,
        finding.threshold,
        None if item.labels is None else finding.disease in item.labels,
        finding.boxes,
        encode_heatmap(finding),
    )


def _disagreements(item: Item, findings: list[Finding]) -> Iterator[DisagreementRow]:
    if item.labels is None:
        return
    for finding in findings:
        labelled = finding.disease in item.labels
        if labelled != finding.positive:
            kind: Dispute = "label-only" if labelled else "model-only"
            yield DisagreementRow(
                item.path, finding.disease, finding.probability, finding.threshold, kind
            )
