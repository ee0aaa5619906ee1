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
    row = _radiograph(item, localization, findings, patient)
    return Mined(
        row,
        tuple(_finding(row, finding) for finding in findings if _is_mined(row, finding, mode)),
        tuple(_disagreements(row, findings)),
    )


def failed(item: Item, reason: str, detail: str) -> Mined:
    """The row of an item that cannot be localized."""
    row = RadiographRow(
        item.path, "failed", reason, detail, labels=item.labels, unknown=item.unknown
    )
    return Mined(row)


def _is_mined(row: RadiographRow, finding: Finding, mode: Mode) -> bool:
    if mode == "open":
        return finding.positive
    return row.labelled(finding.disease) is True


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
        unknown=item.unknown,
        probabilities=tuple(finding.probability for finding in findings),
        patient=patient,
    )


def _finding(row: RadiographRow, finding: Finding) -> FindingRow:
    return FindingRow(
        row.path,
        finding.disease,
        finding.probability,
        finding.threshold,
        row.labelled(finding.disease),
        finding.boxes,
        encode_heatmap(finding),
    )


def _disagreements(row: RadiographRow, findings: list[Finding]) -> Iterator[DisagreementRow]:
    for finding in findings:
        labelled = row.labelled(finding.disease)
        if labelled is not None and labelled != finding.positive:
            kind: Dispute = "label-only" if labelled else "model-only"
            yield DisagreementRow(
                row.path, finding.disease, finding.probability, finding.threshold, kind
            )
