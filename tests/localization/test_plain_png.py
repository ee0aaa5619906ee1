"""The fast way to decode a PNG gives what the slow one gives, or leaves it to it."""

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from localization import Radiograph, RadiographRefused, plain_png
from localization.plain_png import decode_plain_png

WIDTH, HEIGHT = 153, 137
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(*extra: bytes, filters: int = 0, pixels: NDArray[np.uint8] = PIXELS) -> bytes:
    """A gray PNG whose rows all say that they are filtered so; extra chunks before the pixels."""
    height, width = pixels.shape
    rows = b"".join(bytes([filters]) + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *extra,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def fast(data: bytes) -> NDArray[np.uint8] | None:
    return decode_plain_png(data, WIDTH, HEIGHT)


@pytest.mark.parametrize("filters", range(5))
def test_every_filter_gives_what_pillow_gives(filters: int) -> None:
    data = png(filters=filters)
    pixels = fast(data)
    assert pixels is not None
    assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert np.array_equal(pixels, Radiograph.read(data).pixels)


def test_what_changes_no_pixel_is_passed_over() -> None:
    text = chunk(b"tEXt", b"Software\0scanner")
    assert np.array_equal(fast(png(text, chunk(b"pHYs", bytes(9)))), PIXELS)


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"tRNS", b"\x00\x07"),
        chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0"),
        chunk(b"tEXt", b"Raw profile type exif\0..."),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta/>"),
        chunk(b"acTL", bytes(8)),
        chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)),
        chunk(b"neWs", b""),
    ],
)
def test_what_may_change_a_pixel_is_left_to_pillow(extra: bytes) -> None:
    assert fast(png(extra)) is None


def test_transparency_and_orientation_are_still_seen() -> None:
    clear = int(PIXELS[5, 5])
    shown = Radiograph.read(png(chunk(b"tRNS", struct.pack(">H", clear)))).pixels
    assert not shown[clear == PIXELS].any()
    exif = Image.Exif()
    exif[274] = 3  # upside down
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", exif=exif)
    assert np.array_equal(Radiograph.read(file.getvalue()).pixels, PIXELS[::-1, ::-1])


def test_the_text_that_pillow_writes_is_harmless() -> None:
    info, file = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_itxt("Title", "thorax")
    Image.fromarray(PIXELS).save(file, "PNG", pnginfo=info, dpi=(96, 96))
    assert np.array_equal(fast(file.getvalue()), PIXELS)


@pytest.mark.parametrize("kept", [60, 400, -400])
def test_a_truncated_file_is_refused_as_before(kept: int) -> None:
    data = png()[:kept]
    with pytest.raises(RadiographRefused) as refusal:
        Radiograph.read(data)
    assert refusal.value.reason == "truncated"


def test_a_damaged_file_is_refused_as_before() -> None:
    data = bytearray(png())
    data[300] ^= 0xFF
    assert fast(bytes(data)) is None
    with pytest.raises(RadiographRefused):
        Radiograph.read(bytes(data))


def test_a_panic_of_the_decoder_is_no_end_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        pass

    def panic(*_: object) -> None:
        raise Panic

    monkeypatch.setattr(plain_png.kornia, "decode_image_png_u8", panic)
    assert np.array_equal(Radiograph.read(png()).pixels, PIXELS)
