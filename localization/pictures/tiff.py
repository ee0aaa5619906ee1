"""TIFF and BigTIFF, by Pillow and, for 16-bit channels, OpenCV.

A decoder gets the file with a directory that holds nothing but what was checked before: numbers
that agree, and no text, which a decoder's message might quote.
"""

from io import BytesIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from localization.pictures.gray import (
    Decoded,
    decode_by_opencv,
    flat_levels,
    stretched,
    to_gray,
    upright,
)
from localization.pictures.tiff_directory import SIGNATURES, Tag, picture_tags, with_directory
from localization.pictures.tiff_picture import SIGNED, WHITE_IS_ZERO, Picture, checked_tags
from localization.refusal import check_size


def begins(data: bytes) -> bool:
    """Whether a file begins as a TIFF or BigTIFF does."""
    return data.startswith(SIGNATURES)


def is_whole(data: bytes) -> bool:
    """True: `read_tiff` itself refuses what refers to bytes behind the end."""
    return True


def read_tiff(data: bytes, max_pixels: int) -> Decoded:
    """Decode the one picture of a file to upright gray levels, uint8 `[height, width]`."""
    picture = Picture(picture_tags(data))
    check_size(picture.width, picture.height, max_pixels)
    decoded = _levels(picture, with_directory(data, checked_tags(picture, data)))
    gray = to_gray(decoded.levels)
    if picture.photometric == WHITE_IS_ZERO:
        gray = 255 - gray
    return decoded._replace(levels=upright(gray, picture.number(Tag.Orientation)))


def _levels(picture: Picture, data: bytes) -> Decoded:
    """Decode to levels without transparency."""
    image = TiffImageFile(BytesIO(data))
    # Made here, or Pillow would ask its process-wide limit of pixels whether it may be made.
    image.im = Image.new(image.mode, (picture.width, picture.height)).im
    image.load()
    if image.size != (picture.width, picture.height):
        raise ValueError("not of the size that the tags say")
    if picture.bits <= 8:
        return Decoded(flat_levels(image))
    if picture.samples > 1:
        return stretched(decode_by_opencv(data, picture.height, picture.width, np.uint16))
    values = np.asarray(image).astype(np.uint16)
    if picture.sample_format == SIGNED:
        values ^= np.uint16(2**15)
    return stretched(values)
