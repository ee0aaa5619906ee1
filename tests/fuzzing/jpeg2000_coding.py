"""JPEG 2000 codestreams whose coding style costs a decoder far more than their bytes."""

import random
import struct

START = b"\xff\x4f\xff\x51"
CODING = b"\xff\x52"

SIDES = (None, None, 1024, 2048)
"""Pixels a side that the size marker is made to promise; None leaves it as it is."""


def with_costly_coding(data: bytes, rng: random.Random, side: int | None) -> bytes:
    """Small precincts and code-blocks, many layers, in place of a codestream's coding style.

    Args:
        data: a codestream, bare or in a file; one without a coding style stays as it is.
        rng: what it is drawn by.
        side: the width and height of the picture and of its one tile from now on.
    """
    start = data.find(START)
    place = data.find(CODING, start)
    if min(start, place) < 0:
        return data
    length = int.from_bytes(data[place + 2 : place + 4])
    coding = bytearray(data[place + 4 : place + 2 + length][:10])
    coding[0] |= 1
    struct.pack_into(">H", coding, 2, rng.choice((1, 1, 255, 65535)))
    coding[6:8] = bytes([rng.choice((0, 1, 4))] * 2)
    coding += bytes([rng.choice((0x11, 0x11, 0x22, 0x33, 0x77))]) * (coding[5] + 1)
    segment = CODING + struct.pack(">H", 2 + len(coding)) + coding
    changed = bytearray(data[:place] + segment + data[place + 2 + length :])
    if side is not None:
        struct.pack_into(">8I", changed, start + 8, side, side, 0, 0, side, side, 0, 0)
    if data[start - 4 : start] == b"jp2c":
        changed[start - 8 : start - 4] = bytes(4)  # The box goes on to the end.
    return bytes(changed)
