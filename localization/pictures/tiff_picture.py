"""What a TIFF file's tags say of its picture, checked against the file and each other."""

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from typing import NamedTuple

from PIL.JpegImagePlugin import JpegImageFile

from localization.pictures.tiff_directory import Tag, Tags, truncated
from localization.refusal import RadiographRefused

UNCOMPRESSED = 1
JPEG = 7
COMPRESSIONS = frozenset({UNCOMPRESSED, 2, 3, 4, 5, JPEG, 8, 32773, 32946})
"""None, CCITT (three), LZW, JPEG, Deflate, PackBits, Deflate by its old number."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
COLOUR_SAMPLES = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
"""Photometric interpretations that are read, and their samples a pixel without transparency."""

UNSIGNED, SIGNED = 1, 2
PLANAR = 2

MOST_PIECES = 2**15
"""Strips or tiles; a large radiograph whose every row is a strip has some thousand."""

MOST_TILE_PIXELS = 2**24
"""Of one tile, which may be larger than the picture in it."""

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


class Picture:
    """The tags of a picture, TIFF's defaults among them; ValueError where they say nothing."""

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


class _Pieces(NamedTuple):
    """The strips or tiles of a picture."""

    are_tiles: bool
    width: int
    height: int
    starts: tuple[int, ...]
    lengths: tuple[int, ...]
    rows: tuple[int, ...]
    """Of each; the last strip of a plane may be lower."""

    @classmethod
    def of(cls, picture: Picture) -> "_Pieces":
        """The pieces as the tags say, which have to be as many as cover the picture."""
        tags, rows_left = picture.tags, picture.height
        are_tiles = Tag.TileOffsets in tags
        if are_tiles:
            starts, lengths = tags[Tag.TileOffsets], tags[Tag.TileByteCounts]
            width, height = picture.number(Tag.TileWidth), picture.number(Tag.TileLength)
            if width % 16 or height % 16 or width * height > MOST_TILE_PIXELS:
                raise ValueError("not a size of tiles")
        else:
            starts, lengths = tags[Tag.StripOffsets], tags[Tag.StripByteCounts]
            width = picture.width
            height = min(tags.get(Tag.RowsPerStrip, (rows_left,))[0], rows_left)
        across, down = -(-picture.width // width), -(-picture.height // height)
        count = across * down * picture.planes
        if not count == len(starts) == len(lengths) or count > MOST_PIECES:
            raise ValueError("not the number of pieces that cover the picture")
        rows = (height,) * (across * down)
        if not are_tiles:
            rows = (*rows[1:], picture.height - height * (down - 1))
        return cls(are_tiles, width, height, starts, lengths, rows * picture.planes)

    def check(self, picture: Picture, data: bytes) -> None:
        """Refuse pieces that do not lie in the file, or do not hold the pixels that they should."""
        if any(map(lambda start, length: start + length > len(data), self.starts, self.lengths)):
            raise truncated()
        # Pieces that share bytes would be decompressed from the same bytes again and again.
        if sum(self.lengths) > len(data) or not all(self.lengths):
            raise ValueError("pieces that overlap, or without a byte")
        if picture.compression == UNCOMPRESSED:
            row = -(-self.width * picture.bits * (picture.samples // picture.planes) // 8)
            if any(map(lambda length, rows: length < row * rows, self.lengths, self.rows)):
                raise ValueError("pieces that are shorter than their pixels")
        if picture.compression == JPEG:
            for start, length, rows in zip(self.starts, self.lengths, self.rows, strict=True):
                self._check_jpeg(data[start : start + length], rows)

    def _check_jpeg(self, data: bytes, rows: int) -> None:
        """Refuse a JPEG of another size: libtiff would leave out or repeat what it lacks."""
        width, height = JpegImageFile(BytesIO(data)).size
        if width != self.width or not rows <= height <= self.height:
            raise ValueError("a JPEG that is not of its piece's size")

    def tags(self) -> Tags:
        """The tags that say this."""
        if self.are_tiles:
            return {
                Tag.TileWidth: (self.width,),
                Tag.TileLength: (self.height,),
                Tag.TileOffsets: self.starts,
                Tag.TileByteCounts: self.lengths,
            }
        return {
            Tag.RowsPerStrip: (self.height,),
            Tag.StripOffsets: self.starts,
            Tag.StripByteCounts: self.lengths,
        }


def checked_tags(picture: Picture, data: bytes) -> Tags:
    """The tags that a decoder gets to see.

    Raises:
        RadiographRefused: `compression`, `photometric`, `bit-depth` or `truncated`.
        ValueError: the tags contradict each other or the file.
    """
    _check_samples(picture)
    pieces = _Pieces.of(picture)
    pieces.check(picture, data)
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
        **pieces.tags(),
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


def _check_samples(picture: Picture) -> None:
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


def _is_depth_read(picture: Picture) -> bool:
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
