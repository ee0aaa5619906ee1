"""The tags of a TIFF file (TIFF 6.0 and BigTIFF), read with nothing of them believed."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from localization.refusal import RadiographRefused

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Little and big endian; TIFF, then BigTIFF."""

MOST_DIRECTORIES = 64
"""One picture and its reduced copies; 64 halvings are more than any picture has."""

INTEGER_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""`struct` codes of the types in which the tags below may be written: BYTE, SHORT, LONG, LONG8."""

UNDEFINED = 7
"""The type of JPEG tables: bytes."""


class Tag(IntEnum):
    """The tags that say how pixels are stored and shown; no other is looked at."""

    NewSubfileType = 254
    SubfileType = 255
    ImageWidth = 256
    ImageLength = 257
    BitsPerSample = 258
    Compression = 259
    Photometric = 262
    FillOrder = 266
    StripOffsets = 273
    Orientation = 274
    SamplesPerPixel = 277
    RowsPerStrip = 278
    StripByteCounts = 279
    PlanarConfiguration = 284
    T4Options = 292
    T6Options = 293
    Predictor = 317
    ColorMap = 320
    TileWidth = 322
    TileLength = 323
    TileOffsets = 324
    TileByteCounts = 325
    ExtraSamples = 338
    SampleFormat = 339
    JPEGTables = 347
    YCbCrSubSampling = 530


Tags = Mapping[Tag, tuple[int, ...]]
"""Values by tag; JPEG tables are bytes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file writes numbers."""

    order: Literal["<", ">"]
    is_big: bool

    @classmethod
    def of(cls, data: bytes) -> "Layout":
        """The layout that a file's signature names."""
        return cls("<" if data.startswith(b"I") else ">", b"+" in data[2:4])

    @property
    def offset(self) -> str:
        """The `struct` code of an offset."""
        return "Q" if self.is_big else "I"

    @property
    def entries(self) -> str:
        """The `struct` code of the number of entries of a directory."""
        return "Q" if self.is_big else "H"

    @property
    def first(self) -> int:
        """Where the offset of the first directory stands."""
        return 8 if self.is_big else 4

    @property
    def inline(self) -> int:
        """Bytes of a value that an entry holds itself."""
        return 8 if self.is_big else 4

    def unpack(self, codes: str, data: bytes, position: int) -> tuple[int, ...]:
        """Numbers at a position, for which the file has to be long enough."""
        if position + struct.calcsize(self.order + codes) > len(data):
            raise truncated()
        return struct.unpack_from(self.order + codes, data, position)

    def pack(self, codes: str, *values: int) -> bytes:
        """Bytes of numbers."""
        return struct.pack(self.order + codes, *values)


def truncated() -> RadiographRefused:
    """The refusal of a file that refers to bytes behind its end."""
    return RadiographRefused(
        "truncated", "The TIFF ends before its last pixel; send the whole file."
    )


def picture_tags(data: bytes) -> Tags:
    """The tags of the one picture in a file, reduced copies and masks left aside.

    Raises:
        RadiographRefused: `several-pages` or `truncated`.
        ValueError: the directories are not what TIFF allows.
    """
    layout = Layout.of(data)
    seen: set[int] = set()
    found: Tags | None = None
    (position,) = layout.unpack(layout.offset, data, layout.first)
    while position:
        if position in seen or len(seen) == MOST_DIRECTORIES:
            raise ValueError("directories run in a circle, or are too many")
        seen.add(position)
        tags, position = _read_directory(data, layout, position)
        if _is_subordinate(tags):
            continue
        if found is not None:
            raise RadiographRefused(
                "several-pages", "The TIFF holds several pages; send one radiograph."
            )
        found = tags
    if found is None:
        raise ValueError("no picture")
    return found


def _is_subordinate(tags: Tags) -> bool:
    """Whether a picture is a reduced copy or a transparency mask of another one."""
    new = tags.get(Tag.NewSubfileType, (0,))[0]
    return bool(new & 0b101) or tags.get(Tag.SubfileType) == (2,)


def _read_directory(data: bytes, layout: Layout, position: int) -> tuple[Tags, int]:
    """The tags of a directory and the offset of the next, 0 where there is none."""
    (count,) = layout.unpack(layout.entries, data, position)
    position += struct.calcsize(layout.entries)
    size = 4 + 2 * layout.inline
    if count > 4096 or not count:
        raise ValueError("not a number of tags that a picture has")
    tags: dict[Tag, tuple[int, ...]] = {}
    spent = 0
    for entry in range(position, position + count * size, size):
        number, kind, length = layout.unpack("HH" + layout.offset, data, entry)
        if number not in Tag.__members__.values():
            continue
        tag = Tag(number)
        if tag in tags:
            raise ValueError("a tag twice")
        code = "B" if tag is Tag.JPEGTables and kind == UNDEFINED else INTEGER_TYPES[kind]
        bytes_ = length * struct.calcsize("=" + code)
        spent += bytes_
        if not length or spent > len(data):
            raise truncated() if length else ValueError("a tag without a value")
        place = entry + size - layout.inline
        if bytes_ > layout.inline:
            (place,) = layout.unpack(layout.offset, data, place)
        tags[tag] = layout.unpack(f"{length}{code}", data, place)
    (following,) = layout.unpack(layout.offset, data, position + count * size)
    return tags, following


def with_directory(data: bytes, tags: Tags) -> bytes:
    """The same file with one directory of these tags and of no others, at its end.

    It is a plain TIFF, also where the file was a BigTIFF, of which Pillow reads one byte order.
    It is little endian where that makes no difference to pixels: Pillow reads 12 bits so alone.
    """
    has_byte_order = tags[Tag.BitsPerSample][0] == 16
    layout = Layout(Layout.of(data).order if has_byte_order else "<", is_big=False)
    start = len(data) + len(data) % 2
    values_at = start + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag in sorted(tags):
        kind, code = _type_of(tag, tags[tag])
        value = layout.pack(f"{len(tags[tag])}{code}", *tags[tag])
        if len(value) > 4:
            here = layout.pack("I", values_at + len(values))
            values += value + b"\0" * (len(value) % 2)
        else:
            here = value.ljust(4, b"\0")
        entries += layout.pack("HHI", tag, kind, len(tags[tag])) + here
    header = (b"II" if layout.order == "<" else b"MM") + layout.pack("HI", 42, start)
    directory = layout.pack("H", len(tags)) + entries + bytes(4) + values
    return b"".join([header, memoryview(data)[8:], bytes(start - len(data)), directory])


def _type_of(tag: Tag, values: tuple[int, ...]) -> tuple[int, str]:
    """The type to write a tag's values in, and its `struct` code."""
    if tag is Tag.JPEGTables:
        return UNDEFINED, "B"
    return (3, "H") if max(values) < 2**16 else (4, "I")
