"""JPEG 2000, as JP2 file or raw codestream: by Pillow, by OpenCV for channels of over 8 bits."""

from io import BytesIO

import numpy as np
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from localization.jpeg2000 import codestream
from localization.jpeg2000.boxes import JP2_SIGNATURE, first_codestream, read_boxes
from localization.pictures.gray import (
    Decoded,
    decode_by_opencv,
    exif_orientation,
    flat_levels,
    stretched,
    to_gray,
    upright,
)
from localization.refusal import RadiographRefused, check_size

READ_DEEP = ((1, False), (1, True), (3, False))
"""Channels of over 8 bits that are read: how many there are, and whether they are signed."""

UUIDS = {
    b"JpgTiffExif->JP2": "exif",
    bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): "xmp",
}
"""Boxes that may hold an orientation, and where Pillow looks for their content."""


def begins(data: bytes) -> bool:
    """Whether a file begins as JPEG 2000 does."""
    return data.startswith((JP2_SIGNATURE, codestream.START))


def is_whole(data: bytes) -> bool:
    """Whether the codestream goes on to its end, as far as its headers say."""
    try:
        code = first_codestream(read_boxes(data))
        codestream.check_codestream(code, codestream.read_size(code))
    except codestream.TooShort:
        return False
    except Exception:
        return True
    return True


def read_jpeg2000(data: bytes, max_pixels: int) -> Decoded:
    """Decode to upright gray levels, uint8 `[height, width]`."""
    boxes = read_boxes(data)
    code = first_codestream(boxes)
    size = codestream.read_size(code)
    check_size(size.width, size.height, max_pixels)
    codestream.check_codestream(code, size)
    image = Jpeg2KImageFile(BytesIO(data))
    if image.size != (size.width, size.height):
        raise ValueError("headers contradict each other")
    for kind, content in boxes:
        if kind == b"uuid" and bytes(content[:16]) in UUIDS:
            image.info[UUIDS[bytes(content[:16])]] = bytes(content[16:])
    decoded = _levels(image, data, size)
    gray = to_gray(decoded.levels)
    return decoded._replace(levels=upright(gray, exif_orientation(image)))


def _levels(image: Jpeg2KImageFile, data: bytes, size: codestream.Size) -> Decoded:
    """Decode to levels without transparency."""
    deep = max(size.bits) > 8
    if max(size.bits) > 16 or (deep and (len(size.bits), size.signed) not in READ_DEEP):
        raise RadiographRefused(
            "bit-depth",
            "The JPEG 2000 file stores over 16 bits a channel, or over 8 that are signed colours "
            "or beside transparency; save it in gray of 8 or 16 bits.",
        )
    # OpenCV lets damaged files pass, so Pillow decodes every file.
    image.load()
    if not deep:
        return Decoded(flat_levels(image))
    if len(size.bits) == 1:
        if image.mode != "I;16":
            raise ValueError("headers contradict each other")
        return stretched(np.asarray(image).astype(np.uint16))
    return stretched(decode_by_opencv(data, size.height, size.width, np.uint16))
