"""pydicom's decoding plugin that decodes every compressed transfer syntax, by imagecodecs.

imagecodecs wraps libjpeg-turbo (JPEG of 8 and 12 bits, lossless JPEG), CharLS (JPEG-LS) and
OpenJPEG (JPEG 2000, HTJ2K), all under permissive licences. Which of pydicom's own plugins are
installed beside it plays no part, so that a file gives the same pixels everywhere.

The names that stand here without use in this project are those that pydicom asks a plugin for.
"""

from collections.abc import Callable, Mapping

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder

from localization.dicom.codestream import Promise, j2k_promise, jpeg_promise

LABEL = "imagecodecs"

JPEG_END = b"\xff\xd9"
JPEG_PADDING = 1024
"""Bytes in which the end of a JPEG or JPEG-LS must lie; some writers pad behind it."""


def _jpeg(frame: bytes) -> NDArray[np.uint8 | np.uint16]:
    # libjpeg-turbo fills up what is missing with gray.
    _check_end(frame)
    return imagecodecs.jpeg8_decode(frame)


def _jpeg_ls(frame: bytes) -> NDArray[np.uint8 | np.uint16]:
    # Where it meets no marker, CharLS 2.4 counts zeros behind the end for seconds.
    _check_end(frame)
    return imagecodecs.jpegls_decode(frame)


def _check_end(frame: bytes) -> None:
    if JPEG_END not in frame[-JPEG_PADDING:]:
        raise ValueError("no end of image")


def _jpeg_2000(frame: bytes) -> NDArray[np.uint8 | np.uint16 | np.int8 | np.int16]:
    return imagecodecs.jpeg2k_decode(frame, numthreads=1)


CODECS: Mapping[str, tuple[Callable[[bytes], Promise], Callable[[bytes], NDArray[np.integer]]]] = {
    uid.JPEGBaseline8Bit: (jpeg_promise, _jpeg),
    uid.JPEGExtended12Bit: (jpeg_promise, _jpeg),
    uid.JPEGLossless: (jpeg_promise, _jpeg),
    uid.JPEGLosslessSV1: (jpeg_promise, _jpeg),
    uid.JPEGLSLossless: (jpeg_promise, _jpeg_ls),
    uid.JPEGLSNearLossless: (jpeg_promise, _jpeg_ls),
    uid.JPEG2000Lossless: (j2k_promise, _jpeg_2000),
    uid.JPEG2000: (j2k_promise, _jpeg_2000),
    uid.HTJ2KLossless: (j2k_promise, _jpeg_2000),
    uid.HTJ2KLosslessRPCL: (j2k_promise, _jpeg_2000),
    uid.HTJ2K: (j2k_promise, _jpeg_2000),
}
"""What reads a codestream's header, and what decodes it."""

DECODER_DEPENDENCIES = dict.fromkeys((*CODECS, uid.RLELossless), (LABEL,))


def is_available(syntax: str) -> bool:
    """Whether the plugin decodes a transfer syntax."""
    return syntax in DECODER_DEPENDENCIES


def decode_frame(frame: bytes, runner: DecodeRunner) -> bytes | bytearray:
    """Decode one gray frame, as pydicom's plugins do.

    Args:
        frame: its codestream.
        runner: what the DICOM header says of it.

    Returns:
        The samples, row by row, little-endian.

    Raises:
        ValueError: the codestream is not of the size that the header gives, or asks for too much,
            and was not decoded; or its values are below zero where the header has no sign.
    """
    if runner.transfer_syntax == uid.RLELossless:
        return _run_lengths(frame, runner)
    read_promise, decode = CODECS[runner.transfer_syntax]
    promise = read_promise(frame)
    if promise[:3] != (runner.columns, runner.rows, 1):
        raise ValueError("the codestream is of another size than the header says")
    if not 2 <= promise.precision <= min(16, runner.bits_allocated):
        raise ValueError("the codestream is of another depth than the header says")
    samples = decode(frame)
    if samples.shape != (runner.rows, runner.columns):
        raise ValueError("the codestream broke its promise")
    if not runner.pixel_representation and samples.min() < 0:
        # Shifted or reinterpreted, such values are two different pictures.
        raise ValueError("the codestream has a sign where the header says that there is none")
    # The codestream knows its depth better than the header, and signs are told by it.
    runner.set_option("bits_stored", promise.precision)
    runner.set_option("bits_allocated", 8 * samples.itemsize)
    return samples.tobytes()


def _run_lengths(frame: bytes, runner: DecodeRunner) -> bytearray:
    sample = np.dtype(f"<u{runner.bits_allocated // 8}")
    # Of its size before it is filled: run lengths grow up to 64-fold, and promise nothing.
    samples = bytearray(runner.rows * runner.columns * sample.itemsize)
    decoded = imagecodecs.dicomrle_decode(frame, sample, out=samples)
    if len(decoded) != len(samples):
        raise ValueError("fewer pixels than the header says")
    return samples


for _syntax in DECODER_DEPENDENCIES:
    get_decoder(uid.UID(_syntax)).add_plugin(LABEL, (__name__, "decode_frame"))
