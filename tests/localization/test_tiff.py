"""TIFF files as `Radiograph.read` shows or refuses them; those that lie are made by hand."""

import resource
import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tifffile
from picture_helpers import (
    COLOURED,
    DEEP,
    as_palette,
    assert_cut_is_noticed,
    assert_shown,
    encode,
    picture,
    refusal,
    rgb,
    tiff,
)
from PIL import Image

OPAQUE = np.full_like(picture(), 255)
MARKED = np.where(np.arange(96) < 20, 0, 255).astype(np.uint8) * np.ones_like(picture())
"""Alpha: the left 20 columns are transparent."""

SIGNED = (DEEP.astype(np.int32) - 2**15).astype(np.int16)

KINDS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "8 bits": (picture(), {}),
    "8 bits, white is zero": (255 - picture(), {"photometric": "miniswhite"}),
    "16 bits": (DEEP, {}),
    "12-bit range in 16 bits": (DEEP // 16 + 300, {}),
    "16 bits, white is zero": (65535 - DEEP, {"photometric": "miniswhite"}),
    "16 bits, signed": (SIGNED, {}),
    "RGB": (rgb(picture()), {"photometric": "rgb"}),
    "RGB in planes": (
        np.stack([picture()] * 3),
        {"photometric": "rgb", "planarconfig": "separate"},
    ),
    "RGB of 16 bits": (rgb(DEEP), {"photometric": "rgb"}),
    "RGBA": (np.dstack([rgb(picture()), OPAQUE]), {"extrasamples": ["unassalpha"]}),
    "RGBA of 16 bits": (
        np.dstack([rgb(DEEP), np.full_like(DEEP, 65535)]),
        {"photometric": "rgb", "extrasamples": ["unassalpha"]},
    ),
    "gray and alpha": (
        np.dstack([picture(), OPAQUE]),
        {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]},
    ),
    "palette": (
        255 - picture(),
        {
            "photometric": "palette",
            "colormap": np.stack([(255 - np.arange(256)) * 257] * 3).astype(np.uint16),
        },
    ),
}

COMPRESSIONS: dict[str, dict[str, Any]] = {
    "uncompressed": {},
    "LZW": {"compression": "lzw"},
    "LZW of differences": {"compression": "lzw", "predictor": True},
    "Deflate": {"compression": "adobe_deflate"},
    "Deflate of differences": {"compression": "adobe_deflate", "predictor": True},
    "PackBits": {"compression": "packbits"},
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_shown_however_it_is_stored(kind: str, compression: str) -> None:
    pixels, options = KINDS[kind]
    for byteorder in ("<", ">"):
        for bigtiff in (False, True):
            for pieces in ({"rowsperstrip": 10}, {"rowsperstrip": 72}, {"tile": (32, 48)}):
                data = tiff(
                    pixels,
                    byteorder=byteorder,
                    bigtiff=bigtiff,
                    **options,
                    **pieces,
                    **COMPRESSIONS[compression],
                )
                assert_shown(data, picture(), within=1 if "range" in kind else 0)


@pytest.mark.parametrize("order", ["<", ">"])
def test_12_packed_bits_are_read_in_either_byte_order(order: str) -> None:
    values = (DEEP // 16).astype(np.uint32)
    # Two values in three bytes, the upper bits first, whatever the byte order.
    pairs = values[:, ::2] << 12 | values[:, 1::2]
    packed = pairs.astype(">u4").view(np.uint8).reshape(72, 48, 4)[..., 1:].tobytes()
    assert_shown(by_hand(packed, order=order, BitsPerSample=12), picture(), within=1)


@pytest.mark.parametrize("compression", ["raw", "tiff_ccitt", "group3", "group4", "tiff_lzw"])
def test_1_bit_is_black_and_white(compression: str) -> None:
    bright = picture() > 127
    data = encode(Image.fromarray(bright), "TIFF", compression=compression)
    assert_shown(data, np.where(bright, 255, 0).astype(np.uint8))


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_are_spread_over_all_levels(bits: int) -> None:
    values = picture() >> (8 - bits)
    rows = np.unpackbits(values[..., None], axis=2)[..., 8 - bits :].reshape(72, -1)
    data = by_hand(np.packbits(rows, axis=1).tobytes(), BitsPerSample=bits)
    assert_shown(data, values * np.uint8(255 // (2**bits - 1)))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(tiff(picture(), compression="jpeg"), id="gray"),
        pytest.param(tiff(picture(), compression="jpeg", rowsperstrip=32), id="strips"),
        pytest.param(tiff(picture(), compression="jpeg", tile=(32, 48)), id="tiles"),
        pytest.param(
            tiff(255 - picture(), compression="jpeg", photometric="miniswhite"), id="white-is-zero"
        ),
        pytest.param(tiff(rgb(picture()), compression="jpeg", photometric="rgb"), id="RGB"),
        pytest.param(
            encode(Image.fromarray(picture()).convert("YCbCr"), "TIFF", compression="jpeg"),
            id="YCbCr",
        ),
    ],
)
def test_jpeg_within_is_within_a_few_levels(data: bytes) -> None:
    assert_shown(data, picture(), within=6)


def test_transparency_lies_over_black() -> None:
    expected = np.where(MARKED == 0, 0, picture()).astype(np.uint8)
    straight = np.dstack([rgb(picture()), MARKED])
    assert_shown(tiff(straight, extrasamples=["unassalpha"]), expected)
    # Associated alpha: the colours have been multiplied by it.
    multiplied = np.dstack([rgb(expected), MARKED])
    assert_shown(tiff(multiplied, extrasamples=["assocalpha"]), expected)
    # Of an extra sample that is nothing known, nothing is made.
    assert_shown(tiff(straight, extrasamples=["unspecified"]), picture())
    deep = np.dstack([rgb(DEEP), MARKED.astype(np.uint16) * 257])
    data = tiff(deep, photometric="rgb", extrasamples=["unassalpha"])
    assert_shown(data, expected, within=1)


def test_a_coloured_picture_is_refused() -> None:
    assert refusal(tiff(COLOURED)).reason == "coloured"
    assert refusal(tiff(COLOURED.astype(np.uint16) * 257)).reason == "coloured"
    assert refusal(encode(Image.fromarray(COLOURED).quantize(), "TIFF")).reason == "coloured"
    assert_shown(encode(as_palette(picture()), "TIFF"), picture())


def pages(*kinds: int) -> bytes:
    """A TIFF of pages, by their NewSubfileType; the second and later are negatives of the first."""
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for number, kind in enumerate(kinds):
            pixels = 255 - picture() if kind else picture()
            writer.write(pixels, subfiletype=kind, metadata=None, rowsperstrip=9 + number)
    return file.getvalue()


def test_of_several_pages_none_is_chosen() -> None:
    assert refusal(pages(0, 0)).reason == "several-pages"
    assert refusal(pages(*[0] * 100)).reason == "several-pages"


def test_reduced_copies_and_masks_are_no_pages() -> None:
    assert_shown(pages(0, 1, 1), picture())
    assert_shown(pages(1, 0), picture())
    reduced, mask = (struct.pack("<HHII", 254, LONG, 1, kind) for kind in (1, 4))
    assert_shown(pages(0, 1).replace(reduced, mask), picture())
    assert refusal(pages(1)).reason == "broken"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(picture().astype(np.float32)), "bit-depth"),
        (tiff(picture().astype(np.float64)), "bit-depth"),
        (tiff(picture().astype(np.float16)), "bit-depth"),
        (tiff(picture().astype(np.uint32)), "bit-depth"),
        (tiff((picture() // 2).astype(np.int8)), "bit-depth"),
        (
            tiff(np.stack([DEEP] * 3), photometric="rgb", planarconfig="separate"),
            "bit-depth",
        ),
        (tiff(picture(), compression="zstd"), "compression"),
        (tiff(picture(), compression="lzma"), "compression"),
        (tiff(rgb(picture()), photometric="cielab"), "photometric"),
    ],
)
def test_what_is_not_read_is_refused_by_name(data: bytes, reason: str) -> None:
    assert refusal(data).reason == reason


@pytest.mark.parametrize(
    "options",
    [{}, {"bigtiff": True}, {"compression": "lzw"}, {"compression": "jpeg"}, {"tile": (32, 48)}],
    ids=str,
)
def test_a_file_cut_anywhere_is_refused_or_read_whole(options: dict[str, Any]) -> None:
    assert_cut_is_noticed(tiff(picture(), **options))


def test_damage_within_a_compressed_picture_is_named_broken() -> None:
    data = bytearray(tiff(picture(), compression="adobe_deflate"))
    data[-200] ^= 0xFF
    assert refusal(bytes(data)).reason == "broken"


TAGS = {
    "ImageWidth": 256,
    "ImageLength": 257,
    "BitsPerSample": 258,
    "Compression": 259,
    "Photometric": 262,
    "StripOffsets": 273,
    "SamplesPerPixel": 277,
    "RowsPerStrip": 278,
    "StripByteCounts": 279,
    "TileWidth": 322,
    "TileLength": 323,
    "TileOffsets": 324,
    "TileByteCounts": 325,
}
LONG = 4


def by_hand(
    content: bytes,
    *,
    order: str = "<",
    count: int = 1,
    following: int | None = 0,
    **changes: int,
) -> bytes:
    """A TIFF of one strip whose tags say whatever they are told to, also what is not so.

    Args:
        content: the strip.
        order: of bytes.
        count: of values of the tags that name pieces; where it is not 1, the tag's value is the
            offset of the values.
        following: offset of the next directory; None: this one's own.
        changes: values of `TAGS` that are not those of an uncompressed `picture()`.
    """
    tags = {
        "ImageWidth": 96,
        "ImageLength": 72,
        "BitsPerSample": 8,
        "Compression": 1,
        "Photometric": 1,
        "StripOffsets": 8,
        "SamplesPerPixel": 1,
        "RowsPerStrip": 72,
        "StripByteCounts": len(content),
        **changes,
    }
    entries = b"".join(
        struct.pack(
            order + "HHII", TAGS[name], LONG, count if name.startswith("Strip") else 1, value
        )
        for name, value in sorted(tags.items(), key=lambda each: TAGS[each[0]])
    )
    start = 8 + len(content)
    directory = struct.pack(order + "H", len(tags)) + entries
    directory += struct.pack(order + "I", start if following is None else following)
    signature = b"II*\0" if order == "<" else b"MM\0*"
    return signature + struct.pack(order + "I", start) + content + directory


PIXELS = picture().tobytes()
BOMB = zlib.compress(bytes(2**26))
"""64 MiB of zeros in 64 KiB."""

MOST = 2**32 - 1


def test_a_file_by_hand_that_does_not_lie_is_read() -> None:
    assert_shown(by_hand(PIXELS), picture())
    assert_shown(by_hand(zlib.compress(PIXELS), Compression=8), picture())


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        pytest.param(by_hand(PIXELS, ImageWidth=MOST), "too-many-pixels", id="endless-rows"),
        pytest.param(by_hand(PIXELS, ImageWidth=0), "too-small", id="no-columns"),
        pytest.param(by_hand(PIXELS, ImageLength=7000, ImageWidth=7000), "broken", id="too-large"),
        pytest.param(
            by_hand(zlib.compress(b"x"), Compression=8, ImageLength=7000, ImageWidth=7000),
            "broken",
            id="empty-strip",
        ),
        pytest.param(by_hand(PIXELS, StripByteCounts=MOST), "truncated", id="huge-strip"),
        pytest.param(by_hand(PIXELS, StripByteCounts=1), "broken", id="tiny-strip"),
        pytest.param(by_hand(PIXELS, StripOffsets=MOST), "truncated", id="far-strip"),
        pytest.param(by_hand(PIXELS, RowsPerStrip=0), "broken", id="no-rows"),
        pytest.param(by_hand(PIXELS, RowsPerStrip=1), "broken", id="missing-strips"),
        pytest.param(by_hand(PIXELS, SamplesPerPixel=65535), "broken", id="samples"),
        pytest.param(by_hand(PIXELS, BitsPerSample=65535), "bit-depth", id="bits"),
        pytest.param(by_hand(PIXELS, count=2**31), "truncated", id="negative-count"),
        pytest.param(by_hand(PIXELS, count=MOST), "truncated", id="endless-count"),
        pytest.param(by_hand(PIXELS, count=0), "broken", id="no-value"),
        pytest.param(
            by_hand(
                bytes(8 * 2**16),
                RowsPerStrip=1,
                ImageLength=2**16,
                StripByteCounts=8,
                count=2**16,
            ),
            "broken",
            id="many-strips",
        ),
        pytest.param(by_hand(PIXELS, following=None), "broken", id="circle"),
        pytest.param(by_hand(PIXELS, following=MOST), "truncated", id="far-directory"),
        pytest.param(
            by_hand(
                BOMB,
                Compression=8,
                TileWidth=2**16,
                TileLength=2**16,
                TileOffsets=8,
                TileByteCounts=len(BOMB),
            ),
            "broken",
            id="huge-tile",
        ),
        pytest.param(
            by_hand(encode(picture(), "JPEG"), Compression=7, ImageWidth=2**16, ImageLength=72),
            "broken",
            id="small-jpeg",
        ),
        pytest.param(b"II*\0", "truncated", id="signature"),
        pytest.param(b"II+\0\x08\0\0\0" + b"\xff" * 8, "truncated", id="far-first-directory"),
        pytest.param(b"II*\0\x08\0\0\0\xff\xff" + bytes(2**20), "broken", id="many-tags"),
        pytest.param(b"II*\0\0\0\0\0" + bytes(300), "broken", id="no-directory"),
    ],
)
def test_tags_that_lie_cost_nothing(data: bytes, reasons: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    assert refusal(data).reason == reasons
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < 1
    assert after.ru_maxrss - before.ru_maxrss < 200_000  # KiB


def test_strips_that_share_their_bytes_are_not_decompressed_again_and_again() -> None:
    file = BytesIO()
    tifffile.imwrite(file, np.zeros((4096, 96), np.uint8), compression="lzw", rowsperstrip=1)
    data = bytearray(file.getvalue())
    page = tifffile.TiffFile(BytesIO(bytes(data))).pages[0]
    counts = page.tags["StripByteCounts"]
    code = {3: "H", 4: "I"}[counts.dtype]
    # Each strip claims all that follows it.
    for number, offset in enumerate(page.dataoffsets):
        size = struct.calcsize(code)
        most = min(len(data) - offset, 2 ** (8 * size) - 1)
        struct.pack_into("<" + code, data, counts.valueoffset + number * size, most)
    assert refusal(bytes(data)).reason == "broken"


def test_a_dicom_file_whose_preamble_is_a_tiff_header_is_dicom() -> None:
    data = by_hand(PIXELS)[:128].ljust(128, b"\0") + b"DICM"
    assert "DICOM" in str(refusal(data))
