"""How the picture lies: which way up, which side left, and how wide its pixels are."""

import re
from typing import Literal

from pydicom import Dataset

from localization.dicom.elements import numbers, texts
from localization.gate import Doubt

ImageLeft = Literal["patient right", "patient left", "unknown"]
"""Which side of the patient the image's left is, as the file says."""

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


def _directions(dataset: Dataset) -> tuple[str, str]:
    """Where in the patient the image's right and its bottom point to; "" where it is not known."""
    found = texts(dataset, "PatientOrientation")
    if len(found) != 2 or not all(map(DIRECTION.fullmatch, found)):
        return "", ""
    return found[0][0], found[1][0]


def orientation_doubts(dataset: Dataset) -> list[Doubt]:
    """What Patient Orientation has against an upright, frontal radiograph."""
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


def pixel_shape(dataset: Dataset) -> float:
    """Width by height of a pixel; 1 where nothing tells."""
    for keyword in SPACINGS:
        try:
            vertical, horizontal = numbers(dataset, keyword)
        except ValueError:
            continue  # Not two, or not numbers.
        if vertical > 0 and horizontal > 0:
            return horizontal / vertical
    return 1.0
