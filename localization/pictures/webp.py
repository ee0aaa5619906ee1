"""WebP, by OpenCV."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from localization.pictures.gray import (
    Decoded,
    decode_by_opencv,
    exif_orientation,
    to_gray,
    upright,
)
from localization.refusal import RadiographRefused, check_size

MOST_CHUNKS = 1000
"""Far more than a still picture has."""

METADATA = {b"EXIF": "exif", b"XMP ": "xmp"}
"""Chunks that may hold an orientation, and where Pillow looks for their content."""


class _Chunk(NamedTuple):
    kind: bytes
    content: memoryview


def begins(data: bytes) -> bool:
    """Whether a file begins as a WebP does."""
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def is_whole(data: bytes) -> bool:
    """Whether the file is as long as it says."""
    return len(data) >= 12 and len(data) >= 8 + int.from_bytes(data[4:8], "little")


def read_webp(data: bytes, max_pixels: int) -> Decoded:
    """Decode to upright gray levels, uint8 `[height, width]`."""
    chunks = list(_chunks(data))
    width, height = _size(chunks[0])
    check_size(width, height, max_pixels)
    if sum(chunk.kind == b"ANMF" for chunk in chunks) > 1:
        raise RadiographRefused(
            "animated", "The WebP is animated; send one radiograph as a still image."
        )
    if not is_whole(data):
        raise ValueError("shorter than it says")
    # Not by Pillow's plugin: Pillow's process-wide limit of pixels is part of that.
    levels = decode_by_opencv(data, height, width, np.uint8)
    return Decoded(upright(to_gray(levels), _orientation(chunks)))


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """The chunks of a file, the last one as far as it is there."""
    view, position = memoryview(data), 12
    for _ in range(MOST_CHUNKS):
        if position + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, position)
        yield _Chunk(kind, view[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    raise ValueError("too many chunks")


def _size(first: _Chunk) -> tuple[int, int]:
    """Width and height as the first chunk says (RFC 9649, 2.5 to 2.7; RFC 6386, 9.1)."""
    kind, content = first
    if len(content) < 10:
        raise ValueError("no whole header")
    if kind == b"VP8X":
        return (
            int.from_bytes(content[4:7], "little") + 1,
            int.from_bytes(content[7:10], "little") + 1,
        )
    if kind == b"VP8 " and bytes(content[3:6]) == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and bytes(content[:1]) == b"\x2f":
        bits = struct.unpack_from("<I", content, 1)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise ValueError("no picture in the first chunk")


def _orientation(chunks: list[_Chunk]) -> int:
    """As EXIF or XMP beside the picture says, 1 to 8."""
    holder = Image.Image()
    for kind, content in chunks:
        if kind in METADATA:
            holder.info[METADATA[kind]] = bytes(content)
    return exif_orientation(holder)
