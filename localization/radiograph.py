"""Bytes of a picture or a DICOM file in, the radiograph as a person would see it out."""

from dataclasses import dataclass, replace
from typing import Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from localization.dicom import ImageLeft, looks_like_dicom, read_dicom
from localization.field import Field, find_field
from localization.gate import Doubt, Policy
from localization.pictures import PictureFormat, picture_format, read_picture
from localization.proportions import proportion_doubts
from localization.refusal import RadiographRefused

Format = PictureFormat | Literal["DICOM"]


@dataclass(frozen=True, slots=True)
class Outline:
    """A radiograph without its pixels: what is left to know once a model has seen them."""

    format: Format
    width: int
    height: int
    field: Field
    image_left: ImageLeft
    window: str | None
    doubts: tuple[Doubt, ...]


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
    """How values became levels, in words; None for pictures of 8 bits, which need none."""
    doubts: tuple[Doubt, ...] = ()
    """What the answer warns of, as far as the file itself tells."""
    exposed: Field | None = None
    """The part within borders; None for the whole image."""
    pixel_shape: float = 1.0
    """Width by height of a pixel; 1 where the file does not tell."""

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

    @property
    def outline(self) -> Outline:
        """All of it but its pixels."""
        return Outline(
            self.format,
            self.width,
            self.height,
            self.field,
            self.image_left,
            self.window,
            self.doubts,
        )

    @classmethod
    def read(
        cls,
        data: bytes | memoryview,
        *,
        max_pixels: int = 50_000_000,
        policy: Policy = "refuse",
    ) -> Self:
        """Read a PNG, JPEG, JPEG 2000, TIFF, WebP or DICOM file, told apart by its first bytes.

        8-bit pictures keep their levels. Deeper pictures have no display window, so they are
        shown linearly over the range of their pixels: see `show_range`. Transparency lies over
        black. A gray picture in colour channels becomes gray; DICOM is shown through its own
        window.
        Its field is looked for: see `find_field`.

        Args:
            data: the whole file; DICOM is read where it lies, without a copy of it all.
            max_pixels: the most pixels (width x height) that are decoded; asked of the header.
            policy: towards a file whose header says that it is no frontal chest radiograph.

        Raises:
            RadiographRefused: the file is not a radiograph that can be read. Its reasons, for
                any file: `empty`, `unsupported-format`, `too-many-pixels`, `too-small`,
                `truncated`, `broken`; for pictures: `coloured`; for PNG and WebP: `animated`; for
                TIFF: `several-pages`, `compression`, `photometric`, `bit-depth`; for JPEG 2000:
                `bit-depth`; for DICOM: `no-pixels`, `multi-frame`, `photometric`,
                `transfer-syntax`, `bit-depth`, and by policy `modality`, `body-part`, `view`.
        """
        radiograph = cls._decode(data, max_pixels, policy)
        field = find_field(radiograph.pixels)
        doubts = () if policy == "off" else proportion_doubts(field, radiograph.pixel_shape)
        return replace(radiograph, exposed=field, doubts=(*radiograph.doubts, *doubts))

    @classmethod
    def _decode(cls, data: bytes | memoryview, max_pixels: int, policy: Policy) -> Self:
        if not data:
            raise RadiographRefused("empty", "The file is empty.")
        # First: a DICOM file's preamble may hold the header of a TIFF (PS3.10, 7.1).
        if looks_like_dicom(data):
            shown = read_dicom(data, max_pixels, policy)
            return cls(
                shown.pixels,
                "DICOM",
                shown.image_left,
                shown.window,
                shown.doubts,
                pixel_shape=shown.pixel_shape,
            )
        data = bytes(data)
        name = picture_format(data)
        if name is None:
            raise RadiographRefused(
                "unsupported-format",
                "The file is not a PNG, JPEG, JPEG 2000, TIFF or WebP picture, nor a DICOM file; "
                "send one of these.",
            )
        decoded = read_picture(data, name, max_pixels)
        return cls(decoded.levels, name, window=decoded.window, doubts=decoded.doubts)

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
