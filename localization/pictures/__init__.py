"""Pictures in, upright gray levels out: a file per format, and what they share.

Each decoder is called by name for the one format whose signature a file begins with; no library
gets to guess what a file is.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from localization.pictures import jpeg, jpeg2000, png, tiff, webp
from localization.pictures.gray import Decoded
from localization.refusal import RadiographRefused

PictureFormat = Literal["PNG", "JPEG", "JPEG 2000", "TIFF", "WebP"]


class _Format(NamedTuple):
    """What is known of a format: how its files begin, how they are read, how they end."""

    begins: Callable[[bytes], bool]
    read: Callable[[bytes, int], Decoded]
    is_whole: Callable[[bytes], bool]


_FORMATS: dict[PictureFormat, _Format] = {
    "PNG": _Format(png.begins, png.read_png, png.is_whole),
    "JPEG": _Format(jpeg.begins, jpeg.read_jpeg, jpeg.is_whole),
    "JPEG 2000": _Format(jpeg2000.begins, jpeg2000.read_jpeg2000, jpeg2000.is_whole),
    "TIFF": _Format(tiff.begins, tiff.read_tiff, tiff.is_whole),
    "WebP": _Format(webp.begins, webp.read_webp, webp.is_whole),
}


def picture_format(data: bytes) -> PictureFormat | None:
    """The format of a picture by its first bytes; None where it is none that is read."""
    for name, file_format in _FORMATS.items():
        if file_format.begins(data):
            return name
    return None


def read_picture(data: bytes, name: PictureFormat, max_pixels: int) -> Decoded:
    """Decode a picture to upright gray levels, uint8 `[height, width]`.

    Args:
        data: the whole file.
        name: as `picture_format` says.
        max_pixels: the most pixels (width x height) that are decoded; asked of the header.

    Raises:
        RadiographRefused: see `Radiograph.read`.
    """
    try:
        return _FORMATS[name].read(data, max_pixels)
    except (RadiographRefused, MemoryError):
        raise
    except Exception:
        # Decoders raise OSError, SyntaxError, ValueError, struct.error, cv2.error and more for
        # bad files.
        raise _undecodable(name, _FORMATS[name].is_whole(data)) from None


def _undecodable(name: PictureFormat, is_whole: bool) -> RadiographRefused:
    """Why a picture could not be decoded: its end is missing, or something within it is wrong."""
    if not is_whole:
        return RadiographRefused(
            "truncated", f"The {name} file ends before its last pixel; send the whole file."
        )
    return RadiographRefused(
        "broken", f"The {name} file cannot be decoded; save it again and send the new file."
    )
