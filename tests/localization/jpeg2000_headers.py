"""JPEG 2000 codestreams whose headers ask for more than they are worth, made by hand."""

import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def codestream(
    width: int,
    height: int,
    tile: tuple[int, int] | None = None,
    *,
    components: int = 1,
    block: int = 4,
    layers: int = 1,
    precinct: int | None = None,
) -> bytes:
    """A codestream whose header is whole and whose tiles are all but empty.

    `block` and `precinct` are exponents as the coding style has them (A.6.1).
    """
    across, down = tile or (width, height)
    size = struct.pack(
        ">HH8IH", 38 + 3 * components, 0, width, height, 0, 0, across, down, 0, 0, components
    )
    coding = struct.pack(
        ">BBHBBBBBB", precinct is not None, 0, layers, 0, 2, block, block, 0, 1
    ) + (b"" if precinct is None else bytes([precinct * 17] * 3))
    parts = [
        b"\xff\x4f\xff\x51",
        size,
        bytes([7, 1, 1]) * components,
        b"\xff\x52" + struct.pack(">H", 2 + len(coding)),
        coding,
        b"\xff\x5c" + struct.pack(">HB", 3 + 7, 0x40) + bytes([0x48] * 7),
    ]
    tiles = min(-(-width // across) * -(-height // down), 2**16 - 1)
    for number in range(tiles):
        parts.append(b"\xff\x90" + struct.pack(">HHIBB", 10, number, 14 + 4, 0, 1))
        parts.append(b"\xff\x93" + bytes(4))
    return b"".join(parts) + b"\xff\xd9"


def jp2(boxes: bytes) -> bytes:
    return b"\0\0\0\x0cjP  \r\n\x87\n" + boxes


LYING = [
    pytest.param(codestream(2**31, 2**31), "too-many-pixels", id="pixels"),
    pytest.param(codestream(7000, 7000, (20, 20)), "broken", id="tiles"),
    pytest.param(codestream(7000, 7000, block=0), "broken", id="code-blocks"),
    pytest.param(codestream(7000, 7000, precinct=1), "broken", id="precincts"),
    pytest.param(codestream(7000, 7000, layers=65535), "broken", id="layers"),
    pytest.param(codestream(96, 72, components=16384), "broken", id="components"),
    pytest.param(jp2(b"\0\0\0\x08free" * 500_000), "broken", id="boxes"),
    pytest.param(jp2(b"\x7f\xff\xff\xffjp2h"), "broken", id="huge-box"),
    pytest.param(jp2(b"\0\0\0\x01free" + b"\xff" * 8), "truncated", id="endless-box"),
    pytest.param(codestream(96, 72)[:-20] + b"\xff\x64\0\x02" * 500_000, "broken", id="markers"),
    pytest.param(jp2(b""), "truncated", id="signature"),
]
"""Files, and why they are refused."""


@contextmanager
def costs_nothing() -> Iterator[None]:
    """Assert that what is done within takes less than a second and 200 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    yield
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < 1
    assert after.ru_maxrss - before.ru_maxrss < 200_000  # KiB
