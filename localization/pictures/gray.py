"""From whatever a decoder gives to upright gray levels."""

from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from localization.gate import Doubt
from localization.refusal import RadiographRefused
from localization.value_range import histogram, show_range

# What OpenCV finds wrong with a file the refusal says; its own lines would stand between those of
# the log.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# A picture counts as coloured when the channels of more than this share of its pixels lie further
# apart than this many of 255 levels. JPEG's chroma noise and a film's faint tint stay below the
# levels, a coloured marker or line of text below the share.
COLOUR_LEVELS = 24
COLOURED_SHARE = 0.02


class Decoded(NamedTuple):
    """The levels of a picture, and how they were made."""

    levels: NDArray[np.uint8]
    """Gray `[height, width]` or RGB `[height, width, 3]`."""
    window: str | None = None
    """How deeper values became levels, in words; None for 8 bits, which stay as they are."""
    doubts: tuple[Doubt, ...] = ()


def flat_levels(image: Image.Image) -> NDArray[np.uint8]:
    """The levels of an image of 8 bits a channel, transparency over black.

    Returns:
        uint8, gray `[height, width]` or RGB `[height, width, 3]`.
    """
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        black = Image.new("RGB", rgba.size)
        black.paste(rgba, mask=rgba.getchannel("A"))
        return np.asarray(black)
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


Depth = TypeVar("Depth", np.uint8, np.uint16)


def decode_by_opencv(data: bytes, height: int, width: int, depth: type[Depth]) -> NDArray[Depth]:
    """Decode a picture of several channels, transparency over black.

    OpenCV keeps the 16 bits of such channels, of which Pillow keeps the upper 8. It lets some
    damaged files pass.

    Args:
        data: the whole file, of a format that OpenCV is to decode.
        height: as its header says.
        width: as its header says.
        depth: the type of its values.

    Returns:
        RGB `[height, width, 3]`.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != depth or pixels.ndim != 3:
        raise ValueError("not a picture of several channels of that depth")
    if pixels.shape[:2] != (height, width):
        raise ValueError("not of the size that the header says")
    bgr = pixels[..., :3]
    if pixels.shape[2] == 4:
        bgr = np.rint(bgr * (pixels[..., 3:] / np.float32(np.iinfo(depth).max)))
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    return rgb.astype(depth, copy=False)


def stretched(values: NDArray[np.uint16]) -> Decoded:
    """16-bit values as levels, linearly over their range: see `show_range`."""
    # Of all channels together: they keep their proportions.
    counts = histogram(values.reshape(len(values), -1))
    shown = show_range(np.arange(2**16), counts)
    levels = np.asarray(cv2.LUT(values, shown.levels), dtype=np.uint8)
    return Decoded(levels, shown.words, shown.doubts)


def to_gray(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray levels `[height, width]` of gray or RGB levels; refuses a picture that is coloured."""
    if levels.ndim == 2:
        return levels
    red, green, blue = cv2.split(levels)
    highest = cv2.max(cv2.max(red, green), blue)
    lowest = cv2.min(cv2.min(red, green), blue)
    coloured = np.count_nonzero(cv2.subtract(highest, lowest) > COLOUR_LEVELS)
    if coloured > COLOURED_SHARE * highest.size:
        raise RadiographRefused(
            "coloured",
            "The picture is coloured; send the radiograph itself in gray, without coloured maps "
            "or a screen around it.",
        )
    return np.asarray(cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1, as stored, where there is none that can be read."""
    try:
        orientation = int(image.getexif().get(ExifTags.Base.Orientation) or 1)
    except MemoryError:
        raise
    except Exception:
        # Damaged EXIF beside a sound picture is as good as none.
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn stored pixels upright; orientations 5 to 8 swap width and height (EXIF 2.32, 4.6.4)."""
    if orientation >= 5:
        pixels = pixels.T
    # Of the picture as transposed above, which of its axes still runs backwards.
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
