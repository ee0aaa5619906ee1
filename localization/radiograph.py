"""Bytes of a PNG, JPEG or DICOM file in, the radiograph as a person would see it out."""

from dataclasses import dataclass, replace
from io import BytesIO
from typing import Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from localization.dicom import read_dicom
from localization.field import Field, find_field
from localization.gate import Doubt, Policy
from localization.levels import to_levels
from localization.plain_png import decode_plain_png
from localization.refusal import RadiographRefused, check_size

Format = Literal["PNG", "JPEG", "DICOM"]

ImageLeft = Literal["patient right", "patient left", "unknown"]
"""Which side of the patient the image's left is, as the file says."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = b"IEND\xaeB`\x82"
JPEG_START = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"

# A picture counts as coloured when the channels of more than this share of its pixels lie further
# apart than this many of 255 levels. JPEG's chroma noise and a film's faint tint stay below the
# levels, a coloured marker or line of text below the share.
COLOUR_LEVELS = 24
COLOURED_SHARE = 0.02


# Compared by identity: arrays have no single answer to ==.
@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """One radiograph, as displayed.

    `pixels` is uint8 `[height, width]` in [0, 255], bright where the body is dense (DICOM's
    MONOCHROME2 sense), upright by the file's EXIF orientation.
    """

    pixels: NDArray[np.uint8]
    format: Format
    image_left: ImageLeft = "unknown"
    window: str | None = None
    """How a DICOM file's values became levels, in words; None for pictures, which need none."""
    doubts: tuple[Doubt, ...] = ()
    """What the answer warns of, as far as the file itself tells."""
    exposed: Field | None = None
    """The part within borders; None for the whole image."""

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return int(self.pixels.shape[0])

    @property
    def field(self) -> Field:
        """What a model sees of it, and its heat maps cover."""
        return self.exposed or Field.whole(self.pixels)

    @classmethod
    def read(cls, data: bytes, *, max_pixels: int = 50_000_000, policy: Policy = "refuse") -> Self:
        """Read a PNG, JPEG or DICOM file, told apart by its first bytes alone.

        8-bit pictures keep their levels. 16-bit pictures have no display window, so they are
        shown linearly from their darkest to their brightest pixel. Transparency lies over black.
        A gray picture in colour channels becomes gray; DICOM is shown through its own window.
        Its field is looked for: see `find_field`.

        Args:
            data: the whole file.
            max_pixels: the most pixels (width x height) that are decoded; asked of the header.
            policy: towards a file whose header says that it is no frontal chest radiograph.

        Raises:
            RadiographRefused: the file is not a radiograph that can be read. Its reasons, for
                any file: `empty`, `unsupported-format`, `too-many-pixels`, `too-small`,
                `truncated`, `broken`; for PNG and JPEG: `animated`, `coloured`; for DICOM:
                `no-pixels`, `modality`, `multi-frame`, `photometric`, `transfer-syntax`,
                `bit-depth`, `window`.
        """
        radiograph = cls._decode(data, max_pixels, policy)
        return replace(radiograph, exposed=find_field(radiograph.pixels))

    @classmethod
    def _decode(cls, data: bytes, max_pixels: int, policy: Policy) -> Self:
        if not data:
            raise RadiographRefused("empty", "The file is empty.")
        if data.startswith(PNG_SIGNATURE):
            return cls(_read_picture(data, "PNG", max_pixels), "PNG")
        if data.startswith(JPEG_START):
            return cls(_read_picture(data, "JPEG", max_pixels), "JPEG")
        if data[128:132] == b"DICM":
            return cls(read_dicom(data, max_pixels), "DICOM")
        raise RadiographRefused(
            "unsupported-format",
            "The file is not a PNG, a JPEG or a DICOM file with its preamble; send one of these.",
        )

    def at_side(self, side: int) -> NDArray[np.uint8]:
        """Its field as a model sees it: uint8 `[side, side]`, see `to_side`."""
        return to_side(self.field.of(self.pixels), side)


def to_side(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Bring a radiograph to a model's side and sharpness; training and serving both do it here.

    Args:
        pixels: uint8 `[height, width]`.
        side: pixels of the square's side, 1 or more.

    Returns:
        uint8 `[side, side]`; each axis is averaged where it shrinks, interpolated where it grows.
    """
    # Stretched to the square, not padded: ChestX-ray14's 1024 x 1024 images were themselves
    # stretched from the films' aspect ratios, so stretched is what training saw.
    height, width = pixels.shape
    # Shrink first, then grow. Each step leaves the other's axes alone, and one that has nothing
    # to do copies; a single INTER_AREA would turn into INTER_LINEAR wherever one axis grows.
    shrunk = cv2.resize(
        np.ascontiguousarray(pixels),
        (min(width, side), min(height, side)),
        interpolation=cv2.INTER_AREA,
    )
    grown = cv2.resize(shrunk, (side, side), interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown, dtype=np.uint8)


def _read_picture(
    data: bytes, file_format: Literal["PNG", "JPEG"], max_pixels: int
) -> NDArray[np.uint8]:
    """Decode a PNG or JPEG to upright gray levels, uint8 `[height, width]`."""
    try:
        image = _open(data, file_format, max_pixels)
        if file_format == "PNG":
            plain = decode_plain_png(data, image.width, image.height)
            if plain is not None:
                return plain
        if getattr(image, "is_animated", False):
            raise RadiographRefused(
                "animated", "The PNG is animated; send one radiograph as a still image."
            )
        gray = _to_gray(_flat_levels(image, data))
        return _upright(gray, _orientation(image))
    except (RadiographRefused, MemoryError):
        raise
    except Exception:
        # Pillow raises OSError, SyntaxError, ValueError, struct.error and more for bad files.
        raise _undecodable(data, file_format) from None


def _open(
    data: bytes, file_format: Literal["PNG", "JPEG"], max_pixels: int
) -> PngImageFile | JpegImageFile:
    """Open a picture by its header alone; refuses a size out of bounds."""
    # Pillow's own classes rather than Image.open: no other decoder can be reached, Pillow's
    # process-wide decompression bomb limit plays no part beside ours, and a JPEG with further
    # pictures behind it (MPO: previews, gain maps) is read as its first.
    if file_format == "JPEG":
        jpeg = JpegImageFile(BytesIO(data))
        check_size(jpeg.width, jpeg.height, max_pixels)
        return jpeg
    if len(data) < 24 or data[12:16] != b"IHDR":
        raise ValueError("no header chunk")
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    check_size(width, height, max_pixels)
    png = PngImageFile(BytesIO(data))
    # Of several header chunks Pillow would take the last, and OpenCV (below) the first.
    if png.size != (width, height):
        raise ValueError("header chunks contradict each other")
    return png


def _undecodable(data: bytes, file_format: Literal["PNG", "JPEG"]) -> RadiographRefused:
    """Why a picture could not be decoded: its end is missing, or something within it is wrong."""
    ended = PNG_END in data if file_format == "PNG" else JPEG_END in data[-1024:]
    if not ended:
        return RadiographRefused(
            "truncated", f"The {file_format} ends before its last pixel; send the whole file."
        )
    return RadiographRefused(
        "broken", f"The {file_format} cannot be decoded; save it again and send the new file."
    )


def _flat_levels(image: PngImageFile | JpegImageFile, data: bytes) -> NDArray[np.uint8]:
    """Decode to levels without transparency: gray `[height, width]` or RGB `[height, width, 3]`."""
    deep_channels = str(image.tile[0].args).endswith(";16B") and image.mode != "I;16"
    image.load()
    if deep_channels:
        return _stretched(_deep_rgb(data))
    if image.mode == "I;16":
        gray = np.array(image, dtype=np.uint16)
        if "transparency" in image.info:
            gray[gray == image.info["transparency"]] = 0
        return _stretched(gray)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        black = Image.new("RGB", rgba.size)
        black.paste(rgba, mask=rgba.getchannel("A"))
        return np.asarray(black)
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def _deep_rgb(data: bytes) -> NDArray[np.uint16]:
    """Decode a PNG of several 16-bit channels, transparency over black, to `[height, width, 3]`.

    By OpenCV, because Pillow keeps only the upper 8 bits of such channels. It lets truncated
    files pass, so Pillow has to have decoded the file before.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise ValueError("not a PNG of several 16-bit channels")
    bgr = pixels[..., :3]
    if pixels.shape[2] == 4:
        bgr = np.rint(bgr * (pixels[..., 3:] / np.float32(65535)))
    return bgr[..., ::-1].astype(np.uint16)


def _stretched(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """16-bit values as levels, linearly from the darkest (0) to the brightest (255) of them."""
    table = to_levels(np.arange(2**16), int(values.min()), int(values.max()))
    return np.asarray(cv2.LUT(values, table), dtype=np.uint8)


def _to_gray(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
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


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1, as stored, where there is none that can be read."""
    try:
        orientation = int(image.getexif().get(ExifTags.Base.Orientation) or 1)
    except MemoryError:
        raise
    except Exception:
        # Damaged EXIF beside a sound picture is as good as none.
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn stored pixels upright; orientations 5 to 8 swap width and height (EXIF 2.32, 4.6.4)."""
    if orientation >= 5:
        pixels = pixels.T
    # Of the picture as transposed above, which of its axes still runs backwards.
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
