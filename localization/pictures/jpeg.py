"""JPEG, by Pillow."""

from io import BytesIO

from PIL.JpegImagePlugin import JpegImageFile

from localization.pictures.gray import Decoded, exif_orientation, flat_levels, to_gray, upright
from localization.refusal import check_size

SIGNATURE = b"\xff\xd8\xff"
END = b"\xff\xd9"


def read_jpeg(data: bytes, max_pixels: int) -> Decoded:
    """Decode to upright gray levels, uint8 `[height, width]`.

    A JPEG with further pictures behind it (MPO: previews, gain maps) is read as its first.
    """
    image = JpegImageFile(BytesIO(data))
    check_size(image.width, image.height, max_pixels)
    return Decoded(upright(to_gray(flat_levels(image)), exif_orientation(image)))


def begins(data: bytes) -> bool:
    """Whether a file begins as a JPEG does."""
    return data.startswith(SIGNATURE)


def is_whole(data: bytes) -> bool:
    """Whether the marker that ends a JPEG is there, or padding behind it at most."""
    return END in data[-1024:]
