"""The boxes of a JP2 file (ISO/IEC 15444-1, Annex I), and the codestream in one of them."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from localization.jpeg2000.codestream import START, TooShort

JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"

MOST_BOXES = 1000
"""Far more than a file of one picture has."""

LARGEST_HEADER = 2**20
"""Bytes of the header box, a colour profile among them."""


class Box(NamedTuple):
    """A box of a file."""

    kind: bytes
    content: memoryview


def read_boxes(data: bytes) -> list[Box]:
    """The boxes of a file; a raw codestream counts as one of a JP2 file.

    Raises:
        ValueError: there are too many, or one has a length that no box has.
    """
    if data.startswith(START):
        return [Box(b"jp2c", memoryview(data))]
    return list(_walk(memoryview(data)))


def first_codestream(boxes: list[Box]) -> memoryview:
    """The first codestream, which is the picture; its header has to come before.

    Raises:
        TooShort: there is none.
    """
    for kind, content in boxes:
        if kind == b"jp2c":
            return content
    raise TooShort("before its codestream")


def _walk(data: memoryview) -> Iterator[Box]:
    position = 0
    for _ in range(MOST_BOXES):
        if position + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        header = 8
        if length == 1:
            if position + 16 > len(data):
                return
            length, header = struct.unpack_from(">Q", data, position + 8)[0], 16
        if length == 0:
            # To the end of the file.
            length = len(data) - position
        if length < header or (kind == b"jp2h" and length > LARGEST_HEADER):
            raise ValueError("not a length that a box has")
        yield Box(kind, data[position + header : position + length])
        position += length
    raise ValueError("too many boxes")
