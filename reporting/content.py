"""What a report says, whatever it is written as."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import cv2

from localization import (
    Facts,
    Finding,
    Localization,
    Localizer,
    Radiograph,
    RadiographRefused,
    overlay_pixels,
)

TITLE = "Chest radiograph report"
DISCLAIMER = "For research. Not a medical device, not for clinical use."
READING = (
    "A finding is positive where its probability reaches the disease's own operating point. "
    "Each positive finding has a picture: its heat map, from clear at 0 by violet and orange to "
    "yellow at 1, the most that any validation radiograph showed, and the boxes that were found in "
    "it. Colours of one disease compare between radiographs. The model learned from image labels "
    "alone; no one ever showed it a box."
)

LONGEST_SIDE = 720
"""Pixels of a picture. A third of a page wide on paper, that is 300 dots an inch."""

JPEG_QUALITY = 88


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG, and its words."""

    jpeg: bytes
    width: int
    height: int
    caption: str
    description: str
    """What it shows, for who cannot see it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One finding."""

    disease: str
    probability: str
    threshold: str
    positive: bool
    boxes: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """What there is to say of one radiograph."""

    number: int
    name: str
    facts: tuple[tuple[str, str], ...]
    """What it is, and its value."""
    warnings: tuple[str, ...]
    rows: tuple[Row, ...]
    radiograph: Picture
    pictures: tuple[Picture, ...]
    """Of the positive findings."""

    @property
    def positive(self) -> tuple[str, ...]:
        """The diseases that reach their operating points."""
        return tuple(row.disease for row in self.rows if row.positive)


@dataclass(frozen=True, slots=True)
class Line:
    """A radiograph's line in the index."""

    number: int
    name: str
    positive: tuple[str, ...]
    warnings: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that could not be localized, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Head:
    """What stands at the top."""

    model: str
    graph: str
    sha256: str
    """Of the graph that ran."""
    written: str


def describe_model(localizer: Localizer, now: datetime) -> Head:
    """The head of a report that is written ``now``, an aware time."""
    manifest = localizer.bundle.manifest
    graph = manifest.graphs[localizer.precision]
    return Head(
        f"{manifest.name} {manifest.version}",
        f"{localizer.precision} on {localizer.provider}",
        manifest.files[graph],
        now.isoformat(" ", "minutes"),
    )


def describe(
    number: int,
    name: str,
    radiograph: Radiograph,
    localization: Localization,
    diseases: Collection[str] | None,
) -> Sheet:
    """Say what a model found in a radiograph, and draw it.

    Args:
        number: of the radiograph in its report, from 1.
        name: what to call it.
        radiograph: the one that was localized.
        localization: its result, with the boxes of the positive findings.
        diseases: the findings to speak of; all where it is None.
    """
    findings = [
        finding
        for finding in localization.findings
        if diseases is None or finding.disease in diseases
    ]
    return Sheet(
        number,
        name,
        _facts(localization.radiograph),
        tuple(doubt.sentence for doubt in localization.radiograph.warnings),
        tuple(_row(finding) for finding in findings),
        _plain(radiograph, localization),
        tuple(_drawn(radiograph, localization, each) for each in findings if each.positive),
    )


def refuse(name: str, error: Exception) -> Refused:
    """Say why a file has no sheet."""
    if isinstance(error, OSError):  # Its message would name the file again.
        return Refused(name, f"The file cannot be read: {error.strerror or type(error).__name__}.")
    assert isinstance(error, RadiographRefused)
    return Refused(name, str(error))


def printable(name: str) -> str:
    """A file's name without what would hide or reverse its letters, or cannot be written."""
    # Bytes that are no UTF-8 come from the system as lone surrogates, which are not printable.
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )


def _facts(facts: Facts) -> tuple[tuple[str, str], ...]:
    said = {
        "Format": facts.format,
        "Size": f"{facts.width} × {facts.height} pixels",
        "Left of the image": facts.image_left,
        "Window": facts.window,
        "Typicality": None if facts.typicality is None else f"{facts.typicality:.2f}",
    }
    return tuple((name, value) for name, value in said.items() if value is not None)


def _row(finding: Finding) -> Row:
    return Row(
        _spaced(finding.disease),
        f"{finding.probability:.3f}",
        f"{finding.threshold:.3f}",
        finding.positive,
        len(finding.boxes) if finding.positive else 0,
    )


def _plain(radiograph: Radiograph, localization: Localization) -> Picture:
    return _picture(radiograph, localization, (), "As it was read", "The radiograph as it was read")


def _drawn(radiograph: Radiograph, localization: Localization, finding: Finding) -> Picture:
    disease = _spaced(finding.disease)
    boxes = "; ".join(
        f"{box.width:.0f} wide and {box.height:.0f} high, from {box.x:.0f}, {box.y:.0f}"
        for box in finding.boxes
    )
    description = f"Heat map of {disease} over the radiograph. " + (
        f"Boxes, in pixels from the top left: {boxes}" if boxes else "No box"
    )
    caption = f"{disease}: {finding.probability:.3f}, {_boxes(len(finding.boxes))}"
    return _picture(radiograph, localization, (finding.disease,), caption, description)


def _picture(
    radiograph: Radiograph,
    localization: Localization,
    diseases: tuple[str, ...],
    caption: str,
    description: str,
) -> Picture:
    pixels = overlay_pixels(radiograph, localization, diseases, LONGEST_SIDE, named=False)
    height, width = pixels.shape[:2]
    # A sixth of the bytes of a PNG; full colour resolution keeps the boxes' thin lines clean.
    options = (
        cv2.IMWRITE_JPEG_QUALITY,
        JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    )
    _, jpeg = cv2.imencode(".jpg", pixels, options)
    return Picture(jpeg.tobytes(), width, height, caption, description)


def _boxes(count: int) -> str:
    return f"{count} box" if count == 1 else f"{count or 'no'} boxes"


def _spaced(disease: str) -> str:
    """`Pleural_Thickening` for people."""
    return disease.replace("_", " ")
