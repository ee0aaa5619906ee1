"""TIFF and BigTIFF, by Pillow and, for 16-bit channels, OpenCV.

A decoder gets the file with a directory that holds nothing but what was checked here.
"""

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from localization.pictures.gray import decode_by_opencv, flat_levels, stretched, to_gray, upright
from localization.pictures.tiff_directory import (
    SIGNATURES,
    Tag,
    Tags,
    picture_tags,
    truncated,
    with_directory,
)
from localization.refusal import RadiographRefused, check_size

UNCOMPRESSED = 1
COMPRESSIONS = frozenset({UNCOMPRESSED, 2, 3, 4, 5, 7, 8, 32773, 32946})
"""None, CCITT (three), LZW, JPEG, Deflate, PackBits, Deflate by its old number."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
COLOUR_SAMPLES = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
"""Photometric interpretations that are read, and their samples a pixel without transparency."""

UNSIGNED, SIGNED = 1, 2
PLANAR = 2

MOST_PIECES = 2**16
"""Strips or tiles; a picture of the most pixels has some thousand."""

DEFAULTS: Mapping[Tag, tuple[int, ...]] = MappingProxyType(
    {
        Tag.BitsPerSample: (1,),
        Tag.Compression: (UNCOMPRESSED,),
        Tag.FillOrder: (1,),
        Tag.Orientation: (1,),
        Tag.SamplesPerPixel: (1,),
        Tag.PlanarConfiguration: (1,),
        Tag.ExtraSamples: (),
        Tag.SampleFormat: (UNSIGNED,),
    }
)
"""What TIFF 6.0 has a tag say that is not there."""


class _Picture:
    """The tags of a picture, as numbers where there is one, the defaults among them."""

    def __init__(self, tags: Tags) -> None:
        self.tags = {**DEFAULTS, **tags}
        self.width = self.number(Tag.ImageWidth)
        self.height = self.number(Tag.ImageLength)
        self.compression = self.number(Tag.Compression)
        self.photometric = self.number(Tag.Photometric)
        self.samples = self.number(Tag.SamplesPerPixel)
        self.extra = self.tags[Tag.ExtraSamples]
        self.bits = self._of_all_samples(Tag.BitsPerSample)
        self.sample_format = self._of_all_samples(Tag.SampleFormat)
        self.planes = self.samples if self.number(Tag.PlanarConfiguration) == PLANAR else 1

    def number(self, tag: Tag) -> int:
        """The one value of a tag."""
        (value,) = self.tags[tag]
        return value

    def _of_all_samples(self, tag: Tag) -> int:
        """The value that a tag gives for each sample; they have to agree."""
        (value,) = set(self.tags[tag])
        return value


def begins(data: bytes) -> bool:
    """Whether a file begins as a TIFF or BigTIFF does."""
    return data.startswith(SIGNATURES)


def is_whole(data: bytes) -> bool:
    """True: `read_tiff` itself refuses what refers to bytes behind the end."""
    return True


def read_tiff(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode the one picture of a file to upright gray levels, uint8 `[height, width]`."""
    tags = picture_tags(data)
    picture = _Picture(tags)
    check_size(picture.width, picture.height, max_pixels)
    _check_samples(picture)
    pieces = _checked_pieces(picture, len(data), max_pixels)
    gray = to_gray(_levels(picture, with_directory(data, _checked_tags(picture, pieces))))
    if picture.photometric == WHITE_IS_ZERO:
        gray = 255 - gray
    return upright(gray, picture.number(Tag.Orientation))


def _check_samples(picture: _Picture) -> None:
    """Refuse by name what is valid TIFF and not read."""
    if picture.compression not in COMPRESSIONS:
        raise RadiographRefused(
            "compression",
            "The TIFF's compression is not read; save it uncompressed or with LZW or Deflate.",
        )
    if picture.photometric not in COLOUR_SAMPLES:
        raise RadiographRefused(
            "photometric",
            "The TIFF's photometric interpretation is not read; save it in gray or RGB.",
        )
    if picture.samples != COLOUR_SAMPLES[picture.photometric] + len(picture.extra):
        raise ValueError("samples that are no colours and not named")
    if not _is_depth_read(picture):
        raise RadiographRefused(
            "bit-depth",
            "The TIFF's samples are of a kind that is not read (bits, sign, floating point, planes "
            "or transparency); save it in gray of 8 or 16 unsigned bits a pixel.",
        )


def _is_depth_read(picture: _Picture) -> bool:
    """Whether the samples are of a kind that keeps its values through decoder and levels."""
    gray = picture.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO) and picture.samples == 1
    if picture.sample_format == SIGNED:
        return gray and picture.bits == 16
    if picture.bits == 16 and picture.planes > 1:
        return False
    if picture.sample_format != UNSIGNED or len(picture.extra) > 1:
        return False
    if gray:
        return picture.bits in (1, 2, 4, 8, 12, 16)
    if picture.photometric == PALETTE:
        return picture.bits in (1, 2, 4, 8) and not picture.extra
    return picture.bits == 8 or (picture.bits == 16 and picture.photometric == RGB)


def _checked_pieces(picture: _Picture, file_size: int, max_pixels: int) -> Tags:
    """The tags of strips or tiles, which have to cover the picture and lie in the file."""
    width, height = picture.width, picture.height
    if Tag.TileOffsets in picture.tags:
        offsets, counts = Tag.TileOffsets, Tag.TileByteCounts
        width, height = picture.number(Tag.TileWidth), picture.number(Tag.TileLength)
        if not width or not height or width % 16 or height % 16 or width * height > max_pixels:
            raise ValueError("not a size of tiles")
        shape = {Tag.TileWidth: (width,), Tag.TileLength: (height,)}
    else:
        offsets, counts = Tag.StripOffsets, Tag.StripByteCounts
        height = min(picture.tags.get(Tag.RowsPerStrip, (height,))[0], height)
        if not height:
            raise ValueError("strips without rows")
        shape = {Tag.RowsPerStrip: (height,)}
    starts, lengths = picture.tags[offsets], picture.tags[counts]
    pieces = -(-picture.width // width) * -(-picture.height // height) * picture.planes
    if not pieces == len(starts) == len(lengths) or pieces > MOST_PIECES:
        raise ValueError("not the number of pieces that cover the picture")
    if any(start + length > file_size for start, length in zip(starts, lengths, strict=True)):
        raise truncated()
    # Pieces that share bytes would be decompressed from the same bytes again and again.
    if sum(lengths) > file_size or not all(lengths):
        raise ValueError("pieces that overlap, or without a byte")
    if picture.compression == UNCOMPRESSED:
        _check_uncompressed(picture, lengths, width, height)
    return {**shape, offsets: starts, counts: lengths}


def _check_uncompressed(
    picture: _Picture, lengths: tuple[int, ...], width: int, height: int
) -> None:
    """Refuse uncompressed pieces `[height, width]` that are shorter than their pixels."""
    row = -(-width * picture.bits * (picture.samples // picture.planes) // 8)
    rows = [height] * len(lengths)
    if Tag.TileOffsets not in picture.tags:
        a_plane = len(lengths) // picture.planes
        last = picture.height - height * (a_plane - 1)
        rows = ([height] * (a_plane - 1) + [last]) * picture.planes
    if any(length < row * count for length, count in zip(lengths, rows, strict=True)):
        raise ValueError("pieces that are shorter than their pixels")


def _checked_tags(picture: _Picture, pieces: Tags) -> Tags:
    """The tags that a decoder gets to see."""
    tags: dict[Tag, tuple[int, ...]] = {
        Tag.ImageWidth: (picture.width,),
        Tag.ImageLength: (picture.height,),
        Tag.BitsPerSample: (picture.bits,) * picture.samples,
        Tag.Compression: (picture.compression,),
        # Turned here, after decoding: Pillow does so with some kinds of pixels alone.
        Tag.Photometric: (picture.photometric or BLACK_IS_ZERO,),
        Tag.FillOrder: (picture.number(Tag.FillOrder),),
        Tag.SamplesPerPixel: (picture.samples,),
        Tag.PlanarConfiguration: (picture.number(Tag.PlanarConfiguration),),
        # Signed values are shifted here, after decoding: Pillow mistakes their byte order.
        Tag.SampleFormat: (UNSIGNED,) * picture.samples,
        **pieces,
    }
    if picture.extra:
        # Of associated alpha (1) the colours lie over black already: nothing is to be done.
        tags[Tag.ExtraSamples] = (2 if picture.extra == (2,) else 0,)
    for tag in (Tag.T4Options, Tag.T6Options, Tag.Predictor, Tag.JPEGTables, Tag.YCbCrSubSampling):
        if tag in picture.tags:
            tags[tag] = picture.tags[tag]
    if picture.photometric == PALETTE:
        tags[Tag.ColorMap] = picture.tags[Tag.ColorMap]
        if len(tags[Tag.ColorMap]) != 3 * 2**picture.bits:
            raise ValueError("not the colours of a palette")
    return tags


def _levels(picture: _Picture, data: bytes) -> NDArray[np.uint8]:
    """Decode to levels without transparency: gray `[height, width]` or RGB `[height, width, 3]`."""
    image = TiffImageFile(BytesIO(data))
    # Made here, or Pillow would ask its process-wide limit of pixels whether it may be made.
    image.im = Image.new(image.mode, (picture.width, picture.height)).im
    image.load()
    if image.size != (picture.width, picture.height):
        raise ValueError("not of the size that the tags say")
    if picture.bits <= 8:
        return flat_levels(image)
    if picture.samples > 1:
        return stretched(decode_by_opencv(data, picture.height, picture.width, np.uint16))
    values = np.asarray(image).astype(np.uint16)
    if picture.sample_format == SIGNED:
        values ^= np.uint16(2**15)
    return stretched(values)
