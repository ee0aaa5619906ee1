"""The rows of a harvested data set. What they hold is what was found, never when or by whom:
the same radiographs and the same model give the same rows."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from localization import Box, Field, Finding

Outcome = Literal["localized", "failed"]

Dispute = Literal["label-only", "model-only"]
"""`label-only`: labelled, and below the model's operating point. `model-only`: at or above it,
and said not to be there. A disease that the labels leave open is in neither."""


@dataclass(frozen=True, slots=True)
class Patient:
    """Keyed hashes of a DICOM file's identifiers, so that data sets can be joined."""

    patient: str | None
    study: str | None
    instance: str | None


NOBODY = Patient(None, None, None)
"""Of pictures, and of DICOM files where joins were not asked for."""


@dataclass(frozen=True, slots=True)
class RadiographRow:
    """One file of the archive: localized, or failed with its reason."""

    path: str
    """Names it within the source; of a member of a shard, `archive.tar/member.png`."""
    outcome: Outcome
    """`localized` or `failed`."""
    reason: str | None = None
    """Of a failure: a stable slug, see `localization.refusal.REASONS` and `harvesting.shard`."""
    detail: str | None = None
    """Of a failure: the sentence."""
    format: str | None = None
    """`PNG`, `JPEG`, `JPEG 2000`, `TIFF`, `WebP` or `DICOM`; of a failure None, as all below."""
    width: int | None = None
    """Pixels of the radiograph, as displayed."""
    height: int | None = None
    """Pixels of the radiograph, as displayed."""
    field: Field | None = None
    """The part within borders, which the heat maps cover, in pixels."""
    image_left: str | None = None
    """The patient's side that is at the picture's left."""
    window: str | None = None
    """How values became levels, in words; None for pictures of 8 bits."""
    typicality: float | None = None
    """In [0, 1]: 1 where it is as much like the training radiographs as half of them are."""
    warnings: tuple[str, ...] = ()
    """Their codes."""
    labels: tuple[str, ...] | None = None
    """The diseases that the image's labels say are there, of a failure, too; None where it has no
    labels."""
    unknown: tuple[str, ...] = ()
    """The diseases that they leave open. Of all others they say that they are not there."""
    probabilities: tuple[float, ...] | None = None
    """Of the 14 diseases, in their official order; None of a failure."""
    patient: Patient = NOBODY
    """Keyed hashes of a DICOM file's identifiers, where joins were asked for."""

    def labelled(self, disease: str) -> bool | None:
        """Whether its labels say that a disease is there; None where they say neither."""
        if self.labels is None or disease in self.unknown:
            return None
        return disease in self.labels


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One disease that was mined in one radiograph."""

    path: str
    """Of the radiograph."""
    disease: str
    """One of the 14."""
    probability: float
    """Calibrated."""
    threshold: float
    """The disease's operating point."""
    labelled: bool | None
    """Whether the image's labels say that it is there; None where they say neither, or there are
    none."""
    boxes: tuple[Box, ...]
    """In pixels of the radiograph, origin top left; best score first. A box is called by its
    place in this list."""
    heatmap: bytes
    """PNG, 8 bits, 255 is 1.0: the fused map at the model's own resolution, over the field."""

    @property
    def positive(self) -> bool:
        """Whether the probability reaches the operating point."""
        return self.probability >= self.threshold


@dataclass(frozen=True, slots=True)
class DisagreementRow:
    """One disease on which an image's labels and the model disagree."""

    path: str
    """Of the radiograph."""
    disease: str
    """One of the 14."""
    probability: float
    """Calibrated."""
    threshold: float
    """The disease's operating point."""
    kind: Dispute
    """`label-only` or `model-only`."""


@dataclass(frozen=True, slots=True)
class Rows:
    """All that a shard gives."""

    radiographs: tuple[RadiographRow, ...]
    findings: tuple[FindingRow, ...]
    disagreements: tuple[DisagreementRow, ...]


def encode_heatmap(finding: Finding) -> bytes:
    """A finding's fused heat map as `FindingRow.heatmap` holds it."""
    _, encoded = cv2.imencode(".png", np.rint(finding.heatmap * 255).astype(np.uint8))
    return encoded.tobytes()


def decode_heatmap(heatmap: bytes) -> NDArray[np.float32]:
    """`FindingRow.heatmap` as float32 `[rows, columns]` in [0, 1]."""
    levels = cv2.imdecode(np.frombuffer(heatmap, np.uint8), cv2.IMREAD_GRAYSCALE)
    if levels is None:
        raise ValueError("a heat map that is no PNG")
    return np.asarray(levels, np.float32) / np.float32(255)
