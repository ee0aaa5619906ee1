"""Pictures in the parts that their formats have, and whole again: lengths and checksums fit."""

import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from seeds import Kind


class Parted(NamedTuple):
    """What comes before the parts of a file, the parts, and how they are put together."""

    parts: list[bytes]
    whole: Callable[[list[bytes]], bytes]
    header: int
    """Bytes of a part that say what it is; behind them is what it holds."""


def parted(data: bytes, kind: Kind) -> Parted | None:
    """A picture in parts; None where its format has none, or it cannot be taken apart."""
    take_apart = {"PNG": _png, "JPEG": _jpeg, "JPEG 2000": _jpeg2000, "TIFF": _tiff, "WebP": _webp}
    try:
        found = take_apart[kind](data)
    except (KeyError, struct.error, IndexError):
        return None
    return found if found.parts else None


def _png(data: bytes) -> Parted:
    parts, place = [], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        parts.append(data[place + 4 : place + 8 + length])
        place += 12 + length

    def whole(chunks: list[bytes]) -> bytes:
        written = (
            struct.pack(">I", max(0, len(chunk) - 4)) + chunk + struct.pack(">I", zlib.crc32(chunk))
            for chunk in chunks
        )
        return data[:8] + b"".join(written)

    return Parted(parts, whole, 4)


def _jpeg(data: bytes) -> Parted:
    parts, place = [], 2
    while data[place : place + 1] == b"\xff" and data[place + 1] != 0xDA:
        length = 2 + int.from_bytes(data[place + 2 : place + 4])
        parts.append(data[place : place + 2] + data[place + 4 : place + length])
        place += length
    return Parted(parts, lambda them: b"\xff\xd8" + _segments(them) + data[place:], 2)


def _segments(parts: list[bytes]) -> bytes:
    """Marker segments, as JPEG and JPEG 2000 have them, of these markers and contents."""
    return b"".join(
        part[:2] + struct.pack(">H", min(65535, len(part))) + part[2:65535] for part in parts
    )


def _jpeg2000(data: bytes) -> Parted:
    """The main header's marker segments; the boxes before them stay."""
    start = data.index(b"\xff\x4f\xff\x51")
    parts, place = [], start + 2
    while data[place : place + 2] != b"\xff\x90":
        length = 2 + int.from_bytes(data[place + 2 : place + 4])
        parts.append(data[place : place + 2] + data[place + 4 : place + length])
        place += length
    return Parted(parts, lambda them: data[: start + 2] + _segments(them) + data[place:], 2)


def _tiff(data: bytes) -> Parted:
    """The entries of the first directory, which stay as many: offsets in the file stay right."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] in (b"*\0", b"\0*"):
        (at,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, at)
        first, size = at + 2, 12
    else:
        (at,) = struct.unpack_from(order + "Q", data, 8)
        (count,) = struct.unpack_from(order + "Q", data, at)
        first, size = at + 8, 20
    edges = range(first, first + (count + 1) * size, size)
    parts = [data[start:end] for start, end in pairwise(edges)]

    def whole(entries: list[bytes]) -> bytes:
        table = b"".join(entry.ljust(size, b"\0")[:size] for entry in entries)
        table = table[: count * size].ljust(count * size, b"\0")
        return data[:first] + table + data[first + count * size :]

    return Parted(parts, whole, 2)


def _webp(data: bytes) -> Parted:
    parts, place = [], 12
    while place + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, place)
        parts.append(kind + data[place + 8 : place + 8 + length])
        place += 8 + length + length % 2

    def whole(chunks: list[bytes]) -> bytes:
        body = b"".join(
            chunk[:4] + struct.pack("<I", max(0, len(chunk) - 4)) + chunk[4:]
            + b"\0" * (len(chunk) % 2)
            for chunk in chunks
        )  # fmt: skip
        return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body

    return Parted(parts, whole, 4)
