"""A DICOM file from its bytes to the display."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from localization.dicom.geometry import ImageLeft, image_left, pixel_shape
from localization.dicom.kind import check_gray_frame, header_doubts
from localization.dicom.parsing import parse
from localization.dicom.pixels import check_decodable, stored_values
from localization.dicom.presentation import present
from localization.dicom.silence import pydicom_silenced
from localization.gate import Doubt, Policy, settle
from localization.refusal import RadiographRefused, check_size


class Display(NamedTuple):
    """A DICOM radiograph as a screen shows it, and what its header says of it."""

    pixels: NDArray[np.uint8]
    """`[rows, columns]` in [0, 255], bright where the body is dense."""
    window: str
    """How values became levels, in words, such as `window 2048/4096 (LINEAR)`."""
    image_left: ImageLeft
    doubts: tuple[Doubt, ...]
    pixel_shape: float
    """Width by height of a pixel."""


def read_dicom(data: bytes | memoryview, max_pixels: int, policy: Policy = "refuse") -> Display:
    """Read a DICOM radiograph of one gray frame and display it.

    The header is asked for everything that it can answer before a pixel is decoded.

    Args:
        data: the whole file, with preamble and meta header or without.
        max_pixels: the most pixels (Rows x Columns) that are decoded.
        policy: towards a header that says that this is no frontal chest radiograph.

    Raises:
        RadiographRefused: see `Radiograph.read`.
    """
    try:
        with pydicom_silenced():
            dataset = parse(data, max_pixels)
            doubts = () if policy == "off" else settle(header_doubts(dataset), policy)
            check_gray_frame(dataset)
            check_size(int(dataset.Columns), int(dataset.Rows), max_pixels)
            check_decodable(dataset)
            shown = present(dataset, stored_values(dataset))
            return Display(
                shown.pixels,
                shown.window,
                image_left(dataset),
                (*doubts, *shown.doubts),
                pixel_shape(dataset),
            )
    except (RadiographRefused, MemoryError):
        raise
    except Exception:
        # pydicom lets through whatever its parsers and decoders raise. Its messages may quote
        # the file, hence no chain.
        raise RadiographRefused(
            "broken", "The DICOM file cannot be read; export it again and send the new file."
        ) from None
