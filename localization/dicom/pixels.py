"""Stored values: which transfer syntaxes and depths are read, and the bits that are the pixels'."""

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from localization.dicom import plugin
from localization.dicom.parsing import truncated
from localization.refusal import RadiographRefused

NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)

StoredValues = NDArray[np.uint16] | NDArray[np.int16]
"""`[rows, columns]`. 16 bits hold whatever is read, and make one table serve all."""


def check_decodable(dataset: Dataset) -> None:
    """Refuse what no decoder reads, pixels of more than 16 bits, and pixels that are not all there.

    Raises:
        RadiographRefused: `transfer-syntax`, `bit-depth` or `truncated`.
    """
    syntax = _transfer_syntax(dataset)
    if syntax not in NATIVE and not plugin.is_available(syntax):
        # A UID that pydicom knows has a name; of others nothing is quoted.
        known = syntax.name != syntax
        named = syntax.name if known else "not a known one" if syntax else "not given"
        raise RadiographRefused(
            "transfer-syntax",
            f"The DICOM file's transfer syntax is {named}, and no decoder reads it; "
            "send it as Explicit VR Little Endian.",
        )
    bits = int(dataset.BitsStored)
    if not 1 <= bits <= 16:
        raise RadiographRefused(
            "bit-depth", "The DICOM file does not store 1 to 16 bits a pixel, which are read."
        )
    needed = (int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) + 7) // 8
    if syntax in NATIVE and len(dataset.PixelData) < needed:
        raise truncated()


def stored_values(dataset: Dataset) -> StoredValues:
    """Decode the stored pixel values, free of bits that are not theirs.

    Raises:
        Exception: whatever pydicom raises; the pixels cannot be decoded.
    """
    if _transfer_syntax(dataset) in NATIVE:
        stored = _native_values(dataset)
    else:
        stored = pixel_array(dataset, index=0, decoding_plugin=plugin.LABEL)
    if stored.shape != (dataset.Rows, dataset.Columns):
        raise ValueError("not one sample a pixel")
    if dataset.PixelRepresentation:
        return stored.astype(np.int16, copy=False)
    return stored.astype(np.uint16, copy=False)


def _native_values(dataset: Dataset) -> NDArray[np.integer]:
    """Uncompressed values, shifted by High Bit.

    The standard has long wanted High Bit to be the last of the stored bits, which is all that
    pydicom reads. Older files have the value in the upper bits, and overlays beside it.
    """
    values: NDArray[np.integer]
    values = pixel_array(dataset, index=0, correct_unused_bits=False)
    # In the machine's own byte order, which shifts and OpenCV want.
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    allocated, bits = int(dataset.BitsAllocated), int(dataset.BitsStored)
    above = allocated - 1 - int(dataset.HighBit)
    if allocated == 1 or (above == 0 and bits == allocated):
        return values
    if not 0 <= above <= allocated - bits:
        raise ValueError("bits beyond those allocated")
    np.left_shift(values, above, out=values)
    # Arithmetic where the values are signed: it brings the sign along.
    np.right_shift(values, allocated - bits, out=values)
    return values


def _transfer_syntax(dataset: Dataset) -> UID:
    return UID(dataset.file_meta.get("TransferSyntaxUID") or "")
