"""Every transfer syntax in use, and how a picture is encoded in it."""

from collections.abc import Callable
from typing import Any

import imagecodecs
import pydicom
from dicom_files import to_bytes
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def lossless_jpeg(predictor: int) -> Callable[[NDArray[Any], int], bytes]:
    return lambda values, bits: imagecodecs.jpeg8_encode(
        bare(values, bits), lossless=True, predictor=predictor, bitspersample=bits
    )


def bare(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """The stored bits alone, unsigned, as JPEG has them."""
    unsigned = values.view(f"u{values.itemsize}")
    return unsigned & unsigned.dtype.type(2**bits - 1)


def unsigned(values: NDArray[Any]) -> NDArray[Any]:
    return values.view(f"u{values.itemsize}")


ENCODERS: dict[str, Callable[[NDArray[Any], int], bytes]] = {
    JPEGBaseline8Bit: lambda values, bits: imagecodecs.jpeg8_encode(values, 100),
    JPEGExtended12Bit: lambda values, bits: imagecodecs.jpeg8_encode(values, 100, bitspersample=12),
    JPEGLossless: lossless_jpeg(predictor=6),
    JPEGLosslessSV1: lossless_jpeg(predictor=1),
    JPEGLSLossless: lambda values, bits: imagecodecs.jpegls_encode(unsigned(values)),
    JPEGLSNearLossless: lambda values, bits: imagecodecs.jpegls_encode(unsigned(values), 1),
    JPEG2000Lossless: lambda values, bits: imagecodecs.jpeg2k_encode(
        values, 0, codecformat="j2k", reversible=True
    ),
    JPEG2000: lambda values, bits: imagecodecs.jpeg2k_encode(
        values, 110, codecformat="j2k", reversible=False
    ),
    HTJ2KLossless: lambda values, bits: imagecodecs.htj2k_encode(values),
    HTJ2KLosslessRPCL: lambda values, bits: imagecodecs.htj2k_encode(values),
    HTJ2K: lambda values, bits: imagecodecs.htj2k_encode(values, 0.00001, reversible=False),
}
"""Of each compressed syntax but run lengths, which pydicom itself encodes."""

LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K)
DEPTHS = {JPEGBaseline8Bit: (8, 8), JPEGExtended12Bit: (12, 12)}
SIGNED = {JPEGBaseline8Bit: False, JPEGExtended12Bit: False, JPEGLSNearLossless: False}
"""Where the syntax does not have all: the bits that it can store; and lossy ones lose signs."""


def in_syntax(dataset: Dataset, values: NDArray[Any], syntax: str) -> bytes:
    """The file of a data set whose stored values are encoded in a transfer syntax."""
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    if syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(RLELossless, encoding_plugin="pydicom")
    elif syntax in ENCODERS:
        dataset.PixelData = encapsulate([ENCODERS[syntax](values, dataset.BitsStored)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    elif syntax == ExplicitVRBigEndian:
        dataset.PixelData = values.astype(values.dtype.newbyteorder(">")).tobytes()
        dataset["PixelData"].VR = "OB" if values.itemsize == 1 else "OW"
        dataset.set_original_encoding(False, False)
        return to_bytes(dataset, little_endian=False, implicit_vr=False)
    return to_bytes(dataset)
