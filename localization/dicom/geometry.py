"""How the picture lies: which way up, which side left, and how its proportions are."""

import re
from typing import Literal

from pydicom import Dataset

from localization.dicom.elements import numbers, texts
from localization.gate import Doubt

ImageLeft = Literal["patient right", "patient left", "unknown"]
"""Which side of the patient the image's left is, as the file says."""

NARROWEST, WIDEST = 0.54, 1.8
"""Width by height, in mm, of the narrowest and the widest of ChestX-ray14's 112,120 films."""

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
"""What tells the sides of a pixel, vertical first; the first that is there and positive counts."""

# Of a direction in the patient (PS3.3 C.7.6.1.1.1) the first letter is the main one: Left, Right,
# Anterior, Posterior, Head, Foot.
DIRECTION = re.compile("[LRAPHF]{1,3}")


def image_left(dataset: Dataset) -> ImageLeft:
    """Which side of the patient the image's left is, by Patient Orientation."""
    across, _ = _directions(dataset)
    if across == "L":
        return "patient right"
    return "patient left" if across == "R" else "unknown"


def geometry_doubts(dataset: Dataset) -> list[Doubt]:
    """What of the picture's position and proportions no chest radiograph in training had."""
    return [*_orientation_doubts(dataset), *_proportion_doubts(dataset)]


def _directions(dataset: Dataset) -> tuple[str, str]:
    """Where in the patient the image's right and its bottom point to; "" where it is not known."""
    found = texts(dataset, "PatientOrientation")
    if len(found) != 2 or not all(map(DIRECTION.fullmatch, found)):
        return "", ""
    return found[0][0], found[1][0]


def _orientation_doubts(dataset: Dataset) -> list[Doubt]:
    across, down = _directions(dataset)
    if not across or (across, down) == ("L", "F"):
        return []
    evidence = {"patient_orientation": f"{across}\\{down}", "expected": "L\\F"}
    if (across, down) == ("R", "F"):
        sentence = (
            "The file says that the image's left is the patient's left, as in a mirror; "
            "check the sides before the findings are read."
        )
        return [Doubt("mirrored", sentence, evidence=evidence)]
    if across in "AP":
        sentence = (
            "The file says that the image shows the patient from the side; "
            "only frontal chest radiographs are localized reliably."
        )
        return [Doubt("view", sentence, evidence=evidence)]
    sentence = (
        "The file says that the image is not upright; turn it upright, head up, and send it again."
    )
    return [Doubt("turned", sentence, evidence=evidence)]


def _proportion_doubts(dataset: Dataset) -> list[Doubt]:
    """A doubt where the field of view is of a shape that training never saw.

    The shape of single pixels needs no correction. A model sees the whole field of view stretched
    to a square, and that square is the same whether the field was sampled in square pixels or in
    oblong ones. What counts is how far the field itself was stretched, in mm.
    """
    vertical, horizontal = _pixel_sides(dataset)
    try:
        width_by_height = dataset.Columns * horizontal / (dataset.Rows * vertical)
    except Exception:
        return []  # Of a size that is refused in a moment.
    if NARROWEST <= width_by_height <= WIDEST:
        return []
    sentence = (
        "The radiograph's width is far from its height; "
        "crop it to the chest, or check its pixel spacing."
    )
    evidence = {"width_by_height": round(width_by_height, 3), "least": NARROWEST, "most": WIDEST}
    return [Doubt("aspect-ratio", sentence, evidence=evidence)]


def _pixel_sides(dataset: Dataset) -> tuple[float, float]:
    for keyword in SPACINGS:
        try:
            vertical, horizontal = numbers(dataset, keyword)
        except ValueError:
            continue  # Not two, or not numbers.
        if vertical > 0 and horizontal > 0:
            return vertical, horizontal
    return 1, 1
