"""What a graph's outputs say of a radiograph: findings with boxes, in its own pixels."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from localization.appearance import doubts_of_picture
from localization.boxes import Box, find_boxes
from localization.bundle import Manifest
from localization.dicom import ImageLeft
from localization.diseases import DISEASES
from localization.field import Field
from localization.gate import Doubt, Policy, settle
from localization.radiograph import Format, Outline, Radiograph

BoxChoice = Literal["positive", "all", "none"]
"""Of which findings boxes are drawn."""


class Outputs(NamedTuple):
    """What the graph returns for a batch, float32."""

    probabilities: NDArray[np.float32]
    """`[batch, 14]`, calibrated."""
    heatmaps: NDArray[np.float32]
    """`[batch, 14, rows, columns]`, all steps fused, in [0, 1]."""
    step_heatmaps: NDArray[np.float32]
    """`[batch, steps, 14, rows, columns]`, what each step added, in [0, 1]."""
    typicality: NDArray[np.float32]
    """`[batch]`, how much it looks like the training radiographs, in [0, 1]."""
    presentation: NDArray[np.float32]
    """`[batch, 4]`, the probabilities of `localization.appearance.PRESENTATIONS`."""
    tones: NDArray[np.float32]
    """`[batch, 2]`: standard deviation in levels of 255, and share of pixels at 0 or 255."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a model says of one disease in one radiograph."""

    disease: str
    probability: float
    threshold: float
    """The disease's operating point."""
    heatmap: NDArray[np.float32]
    """`[rows, columns]` over the radiograph's field, in [0, 1]."""
    boxes: tuple[Box, ...]
    step_heatmaps: NDArray[np.float32]
    """`[steps, rows, columns]`, what each mining step added to the heat map, in [0, 1]."""

    @property
    def positive(self) -> bool:
        """Whether the probability reaches the operating point."""
        return self.probability >= self.threshold


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to say of a radiograph beside its findings."""

    format: Format
    width: int
    height: int
    field: Field
    """The part that was localized, which the heat maps cover."""
    image_left: ImageLeft
    window: str | None
    typicality: float
    """In [0, 1]: 1 where it is as much like the training radiographs as half of them are."""
    warnings: tuple[Doubt, ...]


@dataclass(frozen=True, slots=True)
class Localization:
    """All 14 findings of a radiograph, most probable first."""

    model_name: str
    model_version: str
    radiograph: Facts
    findings: tuple[Finding, ...]


def interpret(
    manifest: Manifest,
    radiograph: Radiograph | Outline,
    outputs: Outputs,
    row: int,
    boxes: BoxChoice | frozenset[str],
    policy: Policy,
) -> Localization:
    """Turn one row of a batch's outputs into findings; see `Localizer.interpret`.

    Needs no session: it may run where no graph is open.

    Raises:
        RadiographRefused: it is `blank` or `atypical`, by policy.
    """
    return Localization(
        manifest.name,
        manifest.version,
        _facts(manifest, radiograph, outputs, row, policy),
        _findings(manifest, radiograph.field, outputs, row, boxes),
    )


def _facts(
    manifest: Manifest, radiograph: Radiograph | Outline, outputs: Outputs, row: int, policy: Policy
) -> Facts:
    typicality = float(outputs.typicality[row])
    doubts = list(radiograph.doubts)
    if policy != "off":
        doubts += doubts_of_picture(
            outputs.tones[row], typicality, outputs.presentation[row], manifest.appearance
        )
    return Facts(
        radiograph.format,
        radiograph.width,
        radiograph.height,
        radiograph.field,
        radiograph.image_left,
        radiograph.window,
        typicality,
        settle(doubts, policy),
    )


def _findings(
    manifest: Manifest,
    field: Field,
    outputs: Outputs,
    row: int,
    boxes: BoxChoice | frozenset[str],
) -> tuple[Finding, ...]:
    findings = (
        _finding(manifest, field, outputs, row, index, boxes) for index in range(len(DISEASES))
    )
    return tuple(sorted(findings, key=lambda finding: -finding.probability))


def _finding(
    manifest: Manifest,
    field: Field,
    outputs: Outputs,
    row: int,
    index: int,
    boxes: BoxChoice | frozenset[str],
) -> Finding:
    disease = DISEASES[index]
    probability = float(outputs.probabilities[row, index])
    threshold = manifest.operating_points[disease]
    heatmap = outputs.heatmaps[row, index]
    step_heatmaps = outputs.step_heatmaps[row, :, index]
    found: tuple[Box, ...] = ()
    if _drawn(boxes, disease, probability >= threshold):
        found = find_boxes(
            heatmap,
            field.width,
            field.height,
            manifest.box_thresholds[disease],
            step_heatmaps,
            (field.x, field.y),
        )
    return Finding(disease, probability, threshold, heatmap, found, step_heatmaps)


def _drawn(boxes: BoxChoice | frozenset[str], disease: str, positive: bool) -> bool:
    if isinstance(boxes, frozenset):
        return disease in boxes
    return boxes == "all" or (boxes == "positive" and positive)
