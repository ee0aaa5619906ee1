"""JPEG 2000 files as `Radiograph.read` shows or refuses them; those that lie are made by hand."""

import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from jpeg2000_headers import LYING, codestream, costs_nothing
from numpy.typing import NDArray
from picture_helpers import (
    COLOURED,
    DEEP,
    assert_cut_is_noticed,
    assert_shown,
    encode,
    picture,
    refusal,
    rgb,
)

SIGNED = (DEEP.astype(np.int32) - 2**15).astype(np.int16)


def jpeg2000(pixels: NDArray[Any], container: str, bits: int) -> bytes:
    """A lossless file by imagecodecs, of more kinds than Pillow writes."""
    return bytes(
        imagecodecs.jpeg2k_encode(pixels, codecformat=container, bitspersample=bits, level=0)
    )


@pytest.mark.parametrize("container", ["jp2", "j2k"])
@pytest.mark.parametrize(
    ("pixels", "bits"),
    [
        pytest.param(picture(), 8, id="8"),
        pytest.param(DEEP >> 6, 10, id="10"),
        pytest.param(DEEP >> 4, 12, id="12"),
        pytest.param(DEEP, 16, id="16"),
        pytest.param(DEEP // 16 + 300, 16, id="12-bit-range"),
        pytest.param(SIGNED, 16, id="16-signed"),
        pytest.param(rgb(picture()), 8, id="RGB"),
        pytest.param(rgb(DEEP >> 4), 12, id="RGB-12"),
        pytest.param(rgb(DEEP), 16, id="RGB-16"),
    ],
)
def test_a_lossless_picture_is_shown_as_it_is(
    pixels: NDArray[Any], bits: int, container: str
) -> None:
    assert_shown(jpeg2000(pixels, container, bits), picture(), within=1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"no_jp2": True},
        {"tile_size": (32, 32)},
        {"progression": "RPCL", "precinct_size": (32, 32), "codeblock_size": (16, 16)},
        {"num_resolutions": 1},
        {"plt": True, "comment": "none of the patient's"},
    ],
    ids=str,
)
def test_a_picture_is_shown_however_it_is_coded(options: dict[str, Any]) -> None:
    assert_shown(encode(picture(), "JPEG2000", **options), picture())
    lossy = {"irreversible": True, "quality_mode": "dB", "quality_layers": [30, 50]}
    assert_shown(encode(picture(), "JPEG2000", **lossy, **options), picture(), within=12)


def test_a_palette_is_looked_up() -> None:
    data = encode(255 - picture(), "JPEG2000")
    # The header box gets a palette, 8 bits deep, that turns the levels back, and its mapping.
    palette = struct.pack(">I4sHB3B", 8 + 6 + 768, b"pclr", 256, 3, 7, 7, 7)
    palette += bytes(level for index in range(256) for level in [255 - index] * 3)
    mapping = struct.pack(">I4s", 8 + 12, b"cmap") + bytes([0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 2])
    start = data.index(b"jp2h") - 4
    end = start + int.from_bytes(data[start : start + 4], "big")
    ihdr = data[start + 8 : start + 8 + 22]
    colours = struct.pack(">I4sBBBI", 15, b"colr", 1, 0, 0, 16)
    content = ihdr + palette + mapping + colours
    header = struct.pack(">I4s", 8 + len(content), b"jp2h") + content
    assert_shown(data[:start] + header + data[end:], picture())


def test_a_coloured_picture_is_refused() -> None:
    assert refusal(encode(COLOURED, "JPEG2000")).reason == "coloured"
    deep = jpeg2000(COLOURED.astype(np.uint16) * 257, "jp2", 16)
    assert refusal(deep).reason == "coloured"


@pytest.mark.parametrize("channels", [1, 3])
def test_over_8_bits_beside_transparency_are_refused_by_name(channels: int) -> None:
    pixels = np.dstack([DEEP] * channels + [np.full_like(DEEP, 65535)])
    assert refusal(jpeg2000(pixels, "jp2", 16)).reason == "bit-depth"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(picture(), "JPEG2000"), id="8"),
        pytest.param(encode(DEEP, "JPEG2000", no_jp2=True), id="16"),
        pytest.param(encode(picture(), "JPEG2000", tile_size=(32, 32)), id="tiles"),
        pytest.param(jpeg2000(rgb(DEEP), "jp2", 16), id="RGB-16"),
    ],
)
def test_a_file_cut_anywhere_is_refused_or_read_whole(data: bytes) -> None:
    assert_cut_is_noticed(data)


def test_an_empty_picture_by_hand_is_read() -> None:
    assert_shown(codestream(96, 72), np.full((72, 96), 128, np.uint8))


@pytest.mark.parametrize(("data", "reason"), LYING)
def test_headers_that_lie_cost_nothing(data: bytes, reason: str) -> None:
    with costs_nothing():
        assert refusal(data).reason == reason


def test_a_container_that_contradicts_its_codestream_is_broken() -> None:
    data = bytearray(encode(picture(), "JPEG2000"))
    header = data.index(b"ihdr") + 4
    struct.pack_into(">II", data, header, 7000, 7000)
    assert refusal(bytes(data)).reason == "broken"
