"""PNG by kornia-rs where it is plain, by Pillow otherwise, by OpenCV for 16-bit channels."""

from io import BytesIO

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from localization.pictures.gray import (
    Decoded,
    decode_by_opencv,
    exif_orientation,
    flat_levels,
    stretched,
    to_gray,
    upright,
)
from localization.plain_png import decode_plain_png
from localization.refusal import RadiographRefused, check_size

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = b"IEND\xaeB`\x82"


def read_png(data: bytes, max_pixels: int) -> Decoded:
    """Decode to upright gray levels, uint8 `[height, width]`."""
    image = _open(data, max_pixels)
    plain = decode_plain_png(data, image.width, image.height)
    if plain is not None:
        return Decoded(plain)
    if getattr(image, "is_animated", False):
        raise RadiographRefused(
            "animated", "The PNG is animated; send one radiograph as a still image."
        )
    decoded = _levels(image, data)
    gray = to_gray(decoded.levels)
    return decoded._replace(levels=upright(gray, exif_orientation(image)))


def begins(data: bytes) -> bool:
    """Whether a file begins as a PNG does."""
    return data.startswith(SIGNATURE)


def is_whole(data: bytes) -> bool:
    """Whether the chunk that ends a PNG is there."""
    return END in data


def _open(data: bytes, max_pixels: int) -> PngImageFile:
    """Open by the header alone; refuses a size out of bounds."""
    if len(data) < 24 or data[12:16] != b"IHDR":
        raise ValueError("no header chunk")
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    check_size(width, height, max_pixels)
    image = PngImageFile(BytesIO(data))
    # Of several header chunks Pillow would take the last, and OpenCV (below) the first.
    if image.size != (width, height):
        raise ValueError("header chunks contradict each other")
    return image


def _levels(image: PngImageFile, data: bytes) -> Decoded:
    """Decode to levels without transparency."""
    deep_channels = str(image.tile[0].args).endswith(";16B") and image.mode != "I;16"
    # OpenCV lets truncated files pass, so Pillow decodes every file.
    image.load()
    if deep_channels:
        return stretched(decode_by_opencv(data, image.height, image.width, np.uint16))
    if image.mode == "I;16":
        gray = np.array(image, dtype=np.uint16)
        if "transparency" in image.info:
            gray[gray == image.info["transparency"]] = 0
        return stretched(gray)
    return Decoded(flat_levels(image))
