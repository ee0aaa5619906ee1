"""Contact sheets: the radiographs behind the findings that a report picks, small and drawn over."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2

from harvesting.rows import FindingRow, decode_heatmap
from harvesting.tally import Pick
from localization import (
    Facts,
    Finding,
    Localization,
    Radiograph,
    RadiographRefused,
    overlay_pixels,
)

Read = Callable[[str], bytes]
"""The bytes of the file that a row's `path` names, from the run's source.

Raises `OSError` where it is not there any more."""

LONGEST_SIDE = 360
"""Pixels of a picture: a dozen fit on a screen."""

JPEG_QUALITY = 82


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a contact sheet, and its words."""

    jpeg: bytes | None
    width: int
    height: int
    missing: str
    """Why there is no picture."""
    path: str
    disease: str
    probability: str
    threshold: str
    boxes: int
    note: str
    """What the labels say of it."""


class Changed(Exception):
    """A source that is not the one that was harvested."""


def frame(pick: Pick, read: Read) -> Frame:
    """Draw a pick: the radiograph, read again, with the heat map and boxes of its row."""
    jpeg, width, height, missing = None, 0, 0, ""
    try:
        jpeg, width, height = _draw(pick, read)
    except OSError:
        missing = "The source is not there any more."
    except (RadiographRefused, Changed):
        missing = "The source has changed since the harvest."
    return Frame(
        jpeg,
        width,
        height,
        missing,
        printable(pick.radiograph.path),
        spaced(pick.disease),
        f"{pick.probability:.3f}",
        f"{pick.threshold:.3f}",
        len(pick.finding.boxes) if pick.finding else 0,
        _note(pick),
    )


def printable(name: str) -> str:
    """A path without what would hide or reverse its letters."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )


def spaced(disease: str) -> str:
    """`Pleural_Thickening` for people."""
    return disease.replace("_", " ")


def _note(pick: Pick) -> str:
    if pick.dispute == "label-only":
        note = "labelled, the model does not see it"
    elif pick.dispute == "model-only":
        note = "not labelled, the model sees it"
    elif pick.finding is None or pick.finding.labelled is None:
        note = ""
    else:
        note = "labelled" if pick.finding.labelled else "not labelled"
    return note if pick.finding else f"{note}; not mined, so without heat map"


def _draw(pick: Pick, read: Read) -> tuple[bytes, int, int]:
    # Whether it is a radiograph at all was settled when it was harvested.
    radiograph = Radiograph.read(read(pick.radiograph.path), policy="off")
    row = pick.radiograph
    if (radiograph.width, radiograph.height) != (row.width, row.height):
        raise Changed
    findings = (_finding(pick.finding),) if pick.finding else ()
    facts = Facts(
        radiograph.format,
        radiograph.width,
        radiograph.height,
        radiograph.field,
        radiograph.image_left,
        radiograph.window,
        row.typicality or 0.0,
        (),
    )
    localization = Localization("", "", facts, findings)
    drawn = tuple(finding.disease for finding in findings)
    pixels = overlay_pixels(radiograph, localization, drawn, LONGEST_SIDE, named=False)
    height, width = pixels.shape[:2]
    # Full colour resolution keeps the boxes' thin lines clean.
    options = (
        cv2.IMWRITE_JPEG_QUALITY,
        JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    )
    _, jpeg = cv2.imencode(".jpg", pixels, options)
    return jpeg.tobytes(), width, height


def _finding(row: FindingRow) -> Finding:
    heatmap = decode_heatmap(row.heatmap)
    return Finding(row.disease, row.probability, row.threshold, heatmap, row.boxes, heatmap[None])
