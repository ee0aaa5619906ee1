"""The display pipeline: stored values to the levels that a screen shows.

The order is the standard's (PS3.4 N.2.1): stored values, Modality LUT or rescale, VOI LUT or
window, and then, once, the inversion of MONOCHROME1.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from localization.dicom.elements import items, numbers, text
from localization.dicom.pixels import StoredValues
from localization.dicom.tables import is_little_endian, read_table
from localization.dicom.voi import show
from localization.gate import Doubt
from localization.value_range import Values, histogram


class Presentation(NamedTuple):
    """A radiograph as a screen shows it."""

    pixels: NDArray[np.uint8]
    """`[rows, columns]`, bright where the body is dense."""
    window: str
    doubts: tuple[Doubt, ...]


def present(dataset: Dataset, stored: StoredValues) -> Presentation:
    """Show stored values as their data set says that they are to be shown.

    The pipeline runs once over each value that 16 bits can have, not over each pixel: in float64 an
    image of 50 million pixels would fill gigabytes.
    """
    every: NDArray[np.integer] = np.arange(2**16, dtype=np.uint16).view(stored.dtype)
    counts = histogram(stored.view(np.uint16))
    padding = _padding(dataset, every)
    if not counts[~padding].any():
        padding[:] = False  # All of it: then it is none.
    counts[padding] = 0
    try:
        values = _modality_values(dataset, every)
    except Exception:
        # pydicom raises anything for elements that it cannot read.
        voi = show(None, every, counts)
    else:
        voi = show(dataset, values, counts)
    inverted, doubts = _polarity(dataset)
    levels = 255 - voi.levels if inverted else voi.levels
    levels[padding] = 0
    pixels = np.asarray(cv2.LUT(stored.view(np.uint16), levels), dtype=np.uint8)
    return Presentation(pixels, voi.words, (*voi.doubts, *doubts))


def _padding(dataset: Dataset, every: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which values are padding and not picture (PS3.3 C.7.5.1.1.2), where they are told."""
    try:
        told = numbers(dataset, "PixelPaddingValue")
        if told:
            told += numbers(dataset, "PixelPaddingRangeLimit")
    except ValueError:
        told = []
    if not told:
        return np.zeros(every.shape, np.bool_)
    # By their bits: they may be written unsigned where the pixels are signed.
    bits = np.array([int(one) & 0xFFFF for one in told], np.uint16).view(every.dtype)
    padding: NDArray[np.bool_] = (every >= bits.min()) & (every <= bits.max())
    return padding


def _modality_values(dataset: Dataset, every: NDArray[np.integer]) -> Values:
    """Stored values through the Modality LUT or rescale (PS3.3 C.11.1), where there is one.

    Raises:
        Exception: what there is cannot be read, or makes no values.
    """
    tables = items(dataset, "ModalityLUTSequence")
    if tables:
        return read_table(tables[0], is_little_endian(dataset)).look_up(every)
    slope = numbers(dataset, "RescaleSlope") or [1.0]
    intercept = numbers(dataset, "RescaleIntercept") or [0.0]
    if slope[0] == 0:
        raise ValueError("a rescale that makes all values one")
    with np.errstate(over="ignore"):
        values = every.astype(np.float64) * slope[0] + intercept[0]
    if not np.isfinite(values).all():
        raise ValueError("a rescale beyond all numbers")
    return values


def _polarity(dataset: Dataset) -> tuple[bool, tuple[Doubt, ...]]:
    """Whether low values are bright, and a doubt where the file says both.

    MONOCHROME1 and a Presentation LUT Shape of INVERSE are one statement said twice (PS3.3
    C.7.6.1), so there is one inversion. Where only one of them is there, that one counts: neither
    is what a careless writer leaves behind, as MONOCHROME2 and IDENTITY are.
    """
    photometric = text(dataset, "PhotometricInterpretation")
    shape = text(dataset, "PresentationLUTShape")
    inverted = photometric == "MONOCHROME1" or shape == "INVERSE"
    expected = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}[photometric]
    if shape not in ("IDENTITY", "INVERSE") or shape == expected:
        return inverted, ()
    doubt = Doubt(
        "polarity",
        "The DICOM file contradicts itself on whether low values are bright or dark; "
        "check that bone is shown bright.",
        evidence={"photometric_interpretation": photometric, "presentation_lut_shape": shape},
    )
    return inverted, (doubt,)
