"""The headers of a JPEG 2000 codestream (ISO/IEC 15444-1, Annex A), read before it is decoded.

A few bytes of a header can ask a decoder for gigabytes: by tiles, code-blocks, precincts or
layers as much as by width and height.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

START = b"\xff\x4f\xff\x51"
"""Start of codestream, and the size marker, which has to follow."""

COD, COC, SOT, SOD, EOC = 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9

MOST_MARKERS = 2**16
"""Marker segments of a file: each tile has two or three, and each component some."""

MOST_TILES = 2**12
"""Tiles; each costs a decoder some kilobytes before it is looked at."""

MOST_BLOCKS = 2**18
"""Code-blocks and precincts; each costs a decoder about a kilobyte."""

MOST_LAYERS = 255
"""Quality layers; a packet of each precinct belongs to each."""


class Size(NamedTuple):
    """What the size marker says."""

    width: int
    height: int
    bits: tuple[int, ...]
    """Of each component."""
    signed: bool
    """Whether a component is."""
    tile_width: int
    tile_height: int
    tiles: int


class TooShort(ValueError):
    """The codestream ends before its last tile."""


def read_size(code: memoryview) -> Size:
    """The size marker of a codestream; refuses what would cost too much, whatever its pixels."""
    if not START.startswith(code[:4]):
        raise ValueError("no codestream")
    try:
        _, x, y, left, top, tile_x, tile_y, tile_left, tile_top, count = struct.unpack_from(
            ">H8IH", code, 6
        )
        components = [struct.unpack_from(">BBB", code, 42 + 3 * k) for k in range(min(count, 5))]
    except struct.error:
        raise TooShort("in its header") from None
    if not 1 <= count <= 4 or components[0][1:] != (1, 1):
        raise ValueError("not the components of a picture")
    if any(not 1 <= step <= 2 for _, *steps in components for step in steps):
        raise ValueError("not a subsampling of colours")
    if not (tile_left <= left < tile_left + tile_x and tile_top <= top < tile_top + tile_y):
        raise ValueError("tiles that do not begin with the picture")
    tiles = -(-(x - tile_left) // tile_x) * -(-(y - tile_top) // tile_y)
    if x <= left or y <= top or tiles > MOST_TILES:
        raise ValueError("no picture, or too many tiles")
    return Size(
        width=x - left,
        height=y - top,
        bits=tuple((depth & 0x7F) + 1 for depth, *_ in components),
        signed=any(depth & 0x80 for depth, *_ in components),
        tile_width=min(tile_x, x - left),
        tile_height=min(tile_y, y - top),
        tiles=tiles,
    )


def check_codestream(code: memoryview, size: Size) -> None:
    """Walk over the headers, from tile to tile, and refuse what costs a decoder too much.

    Raises:
        TooShort: the file ends before the last tile.
        ValueError: it is no codestream, or one that would cost too much.
    """
    for count, (marker, segment) in enumerate(_segments(code)):
        if count == MOST_MARKERS:
            raise ValueError("too many markers")
        if marker in (COD, COC):
            _check_coding(segment, marker == COC, size)


def _segments(code: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The marker segments of the main header and of each tile-part, pixels passed over."""
    position, end = 2, 0
    while (marker := _number(code, position, 2)) != EOC:
        if marker == SOD:
            if end > len(code):
                raise TooShort("in a tile")
            if end < position + 2:
                raise ValueError("a tile-part that ends before its pixels")
            position = end
            continue
        length = _number(code, position + 2, 2)
        # From FF30 to FF3F, markers have no length.
        if marker <= 0xFF3F or length < 2:
            raise ValueError("no marker segment where one has to be")
        if position + 2 + length > len(code):
            raise TooShort("in a header")
        if marker == SOT:
            # The last tile-part may leave its length out.
            end = position + (_number(code, position + 6, 4) or len(code) - 2 - position)
        yield marker, code[position + 4 : position + 2 + length]
        position += 2 + length


def _check_coding(segment: memoryview, of_component: bool, size: Size) -> None:
    """Refuse a coding style (A.6.1, A.6.2) of too many code-blocks, precincts or layers."""
    if of_component:
        style, layers, parameters = segment[1], 1, segment[2:]
    else:
        style, layers, parameters = segment[0], _number(segment, 2, 2), segment[5:]
    levels, block_x, block_y = parameters[0], parameters[1] + 2, parameters[2] + 2
    if levels > 32 or max(block_x, block_y) > 10 or layers > MOST_LAYERS:
        raise ValueError("not a coding style")
    blocks = 0
    for level in range(levels + 1):
        # From the coarsest resolution to the finest.
        precinct = parameters[5 + level] if style & 1 else 0xFF
        precinct_x, precinct_y = precinct & 15, precinct >> 4
        width = -(-size.tile_width >> (levels - level))
        height = -(-size.tile_height >> (levels - level))
        width, height = max(width, 1), max(height, 1)
        blocks += _cells(width, height, precinct_x, precinct_y)
        blocks += _cells(width, height, min(block_x, precinct_x), min(block_y, precinct_y))
    if blocks * size.tiles * len(size.bits) > MOST_BLOCKS:
        raise ValueError("too many code-blocks or precincts")


def _cells(width: int, height: int, x: int, y: int) -> int:
    """Cells of 2^x by 2^y that cover a rectangle."""
    return -(-width >> x) * -(-height >> y)


def _number(code: memoryview, position: int, size: int) -> int:
    """A number of some bytes, for which the file has to be long enough."""
    if position + size > len(code):
        raise TooShort("in its headers")
    return int.from_bytes(code[position : position + size])
