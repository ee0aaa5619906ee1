"""PNG and JPEG files, made here, as `Radiograph.read` shows or refuses them."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from picture_helpers import (
    DEEP,
    as_palette,
    assert_cut_is_noticed,
    encode,
    outcome,
    picture,
    refusal,
)
from PIL import ExifTags, Image, ImageDraw, ImageOps

from localization.radiograph import Radiograph, to_side


def deep_png(pixels: NDArray[np.uint16]) -> bytes:
    """A PNG of 16-bit channels in RGB(A) order, which Pillow does not write."""
    order = [2, 1, 0, 3][: pixels.shape[2]]
    done, file = cv2.imencode(".png", np.ascontiguousarray(pixels[..., order]))
    assert done
    return file.tobytes()


def png_chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png_header(width: int, height: int, bit_depth: int = 8, colour_type: int = 0) -> bytes:
    """A PNG up to its header, without a pixel."""
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


def gray_alpha_deep_png(gray: NDArray[np.uint16], alpha: NDArray[np.uint16]) -> bytes:
    """A PNG of 16-bit gray and alpha, which neither Pillow nor OpenCV writes."""
    height, width = gray.shape
    samples = np.stack([gray, alpha], axis=2).astype(">u2")
    rows = b"".join(b"\x00" + row.tobytes() for row in samples)
    start = png_header(width, height, bit_depth=16, colour_type=4)
    return start + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(picture()), id="L"),
        pytest.param(encode(picture(), optimize=True), id="L-optimized"),
        pytest.param(encode(as_palette(picture())), id="palette"),
        pytest.param(encode(Image.fromarray(picture()).convert("LA")), id="LA"),
        pytest.param(encode(Image.fromarray(picture()).convert("RGB")), id="RGB"),
        pytest.param(encode(Image.fromarray(picture()).convert("RGBA")), id="RGBA"),
    ],
)
def test_an_8_bit_png_keeps_its_levels(data: bytes) -> None:
    radiograph = Radiograph.read(data)
    assert radiograph.format == "PNG"
    assert (radiograph.width, radiograph.height) == (96, 72)
    assert radiograph.pixels.dtype == np.uint8
    np.testing.assert_array_equal(radiograph.pixels, picture())


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP", "JPEG2000"])
def test_a_picture_in_shared_memory_is_read_as_its_bytes_are(file_format: str) -> None:
    data = encode(picture(), file_format)
    shown = Radiograph.read(memoryview(bytearray(data))).pixels
    np.testing.assert_array_equal(shown, Radiograph.read(data).pixels)


def test_a_1_bit_png_is_black_and_white() -> None:
    bright = picture() > 127
    pixels = Radiograph.read(encode(Image.fromarray(bright))).pixels
    np.testing.assert_array_equal(pixels, np.where(bright, 255, 0))


OPAQUE = np.full_like(DEEP, 65535)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(DEEP), id="full-range"),
        pytest.param(encode(DEEP // 16 + 300), id="12-bit-range"),
        pytest.param(deep_png(np.stack([DEEP] * 3, axis=2)), id="RGB"),
        pytest.param(deep_png(np.stack([DEEP // 16] * 3, axis=2)), id="RGB-12-bit-range"),
        pytest.param(deep_png(np.stack([DEEP] * 3 + [OPAQUE], axis=2)), id="RGBA"),
        pytest.param(gray_alpha_deep_png(DEEP // 16, OPAQUE), id="LA-12-bit-range"),
    ],
)
def test_a_16_bit_png_is_shown_from_its_darkest_to_its_brightest_pixel(data: bytes) -> None:
    pixels = Radiograph.read(data).pixels
    np.testing.assert_allclose(pixels.astype(int), picture(), atol=1)


def test_a_16_bit_png_of_one_value_is_black() -> None:
    assert not Radiograph.read(encode(np.full((72, 96), 4000, np.uint16))).pixels.any()


@pytest.mark.parametrize("deep", [False, True])
def test_transparency_lies_over_black(deep: bool) -> None:
    alpha = np.full((72, 96), 255, np.uint8)
    alpha[:, :20] = 0
    alpha[:, 20:30] = 51
    if deep:
        data = gray_alpha_deep_png(DEEP, alpha.astype(np.uint16) * 257)
    else:
        data = encode(np.stack([picture(), alpha], axis=2))
    expected = picture() * (alpha / 255)
    pixels = Radiograph.read(data).pixels
    np.testing.assert_allclose(pixels.astype(float), expected, atol=1)


def test_a_transparent_level_becomes_black() -> None:
    gray = picture()
    expected = np.where(gray == 200, 0, gray)
    pixels = Radiograph.read(encode(gray, transparency=200)).pixels
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_within_a_few_levels(mode: str, progressive: bool) -> None:
    image = Image.fromarray(picture())
    if mode == "CMYK":
        # Gray by black ink alone, as prepress software writes it.
        nothing = Image.new("L", image.size)
        image = Image.merge("CMYK", [nothing, nothing, nothing, ImageOps.invert(image)])
    data = encode(image.convert(mode), "JPEG", quality=95, progressive=progressive)
    radiograph = Radiograph.read(data)
    assert radiograph.format == "JPEG"
    np.testing.assert_allclose(radiograph.pixels.astype(int), picture(), atol=6)


def test_a_jpeg_with_pictures_behind_it_is_read_as_its_first() -> None:
    small = Image.fromarray(255 - picture(32, 32))
    data = encode(Image.fromarray(picture()), "MPO", save_all=True, append_images=[small])
    pixels = Radiograph.read(data).pixels
    np.testing.assert_allclose(pixels.astype(int), picture(), atol=30)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "PNG16", "PNG16-RGB", "JPEG"])
def test_exif_orientation_turns_the_picture_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = Image.fromarray(picture())
    image.getexif()[ExifTags.Base.Orientation] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    if kind == "JPEG":
        data = encode(picture(), "JPEG", quality=98, exif=exif)
    elif kind == "PNG16-RGB":
        data = deep_png(np.stack([DEEP] * 3, axis=2))
        after_header = 8 + 25
        data = data[:after_header] + png_chunk(b"eXIf", exif.tobytes()[6:]) + data[after_header:]
    else:
        data = encode(DEEP if kind == "PNG16" else picture(), exif=exif)
    radiograph = Radiograph.read(data)
    assert (radiograph.height, radiograph.width) == expected.shape
    np.testing.assert_allclose(
        radiograph.pixels.astype(int), expected, atol=6 if kind == "JPEG" else 1
    )


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\xff\xff", b"Exif\0\0"])
def test_damaged_exif_does_not_stand_in_the_way(exif: bytes) -> None:
    np.testing.assert_array_equal(Radiograph.read(encode(picture(), exif=exif)).pixels, picture())


def test_a_coloured_picture_is_refused() -> None:
    gray = picture()
    coloured = cv2.applyColorMap(gray, cv2.COLORMAP_JET)
    assert refusal(encode(coloured)).reason == "coloured"
    assert refusal(encode(coloured, "JPEG")).reason == "coloured"
    deep = coloured.astype(np.uint16) * 257
    assert refusal(deep_png(deep)).reason == "coloured"
    assert refusal(encode(Image.fromarray(coloured).quantize())).reason == "coloured"


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_a_small_coloured_marker_is_let_through(file_format: str) -> None:
    image = Image.fromarray(picture(256, 256)).convert("RGB")
    ImageDraw.Draw(image).rectangle((4, 4, 24, 24), fill=(255, 0, 0))
    pixels = Radiograph.read(encode(image, file_format)).pixels
    np.testing.assert_allclose(pixels[40:, 40:].astype(int), picture(256, 256)[40:, 40:], atol=12)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"no picture, whatever its name says", "unsupported-format"),
        (b"\0" * 500, "unsupported-format"),
        (png_header(30_000, 30_000), "too-many-pixels"),
        (png_header(4_000_000_000, 1), "too-many-pixels"),
        (encode(picture(63, 96)), "too-small"),
        (encode(picture(96, 63), "JPEG"), "too-small"),
        (encode(picture())[:-40], "truncated"),
        (encode(picture(), "JPEG")[:-200], "truncated"),
        (png_header(96, 72), "truncated"),
        (png_header(96, 72) + png_chunk(b"IEND", b""), "broken"),
        (png_header(96, 72, bit_depth=7) + png_chunk(b"IEND", b""), "broken"),
        (b"\xff\xd8\xff\xd9", "broken"),
        (b"\xff\xd8\xff\xe0 and nothing else", "truncated"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_for_its_own_reason(data: bytes, reason: str) -> None:
    assert refusal(data).reason == reason


def test_damage_within_a_whole_png_is_named_broken() -> None:
    data = bytearray(encode(picture()))
    data[len(data) // 2] ^= 0xFF
    assert refusal(bytes(data)).reason == "broken"


def test_a_second_header_chunk_does_not_outwit_the_size_check() -> None:
    deep = deep_png(np.stack([DEEP] * 3, axis=2))
    for first, second in [((20_000, 20_000), (96, 72)), ((96, 72), (20_000, 20_000))]:
        headers = png_header(*first, 16, 2) + png_header(*second, 16, 2)[8:]
        assert refusal(headers + deep[8 + 25 :]).reason in ("too-many-pixels", "broken")


def test_an_animated_png_is_refused() -> None:
    second = Image.fromarray(255 - picture())
    data = encode(picture(), save_all=True, append_images=[second])
    assert refusal(data).reason == "animated"


def test_the_pixel_limit_is_inclusive() -> None:
    data = encode(picture())
    assert Radiograph.read(data, max_pixels=72 * 96).width == 96
    assert refusal(data, max_pixels=72 * 96 - 1).reason == "too-many-pixels"


def test_a_limit_above_pillows_own_is_the_one_that_counts() -> None:
    # Neither Pillow's DecompressionBombError nor its warning: the file just has no pixels.
    assert refusal(png_header(30_000, 30_000), max_pixels=10**9).reason == "truncated"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(picture()), id="PNG"),
        pytest.param(encode(DEEP), id="PNG16"),
        pytest.param(deep_png(np.stack([DEEP] * 3, axis=2)), id="PNG16-RGB"),
        pytest.param(encode(picture(), "JPEG"), id="JPEG"),
        pytest.param(encode(picture(), "JPEG", progressive=True), id="JPEG-progressive"),
    ],
)
def test_a_file_cut_anywhere_is_refused_or_read_whole(data: bytes) -> None:
    assert_cut_is_noticed(data)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_flipped_bytes_raise_nothing_but_refusals(file_format: str) -> None:
    data = encode(picture(), file_format)
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        for place in random.integers(3, min(len(data), 400), size=3):
            damaged[place] = random.integers(256)
        outcome(bytes(damaged))


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (128, 500), (512, 512), (333, 129)])
def test_to_side_averages_where_it_shrinks(shape: tuple[int, int]) -> None:
    pixels = picture(*shape)
    expected = cv2.resize(pixels, (128, 128), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(to_side(pixels, 128), expected)


def test_to_side_interpolates_where_it_grows() -> None:
    pixels = picture(64, 100)
    expected = cv2.resize(pixels, (192, 192), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(to_side(pixels, 192), expected)


def test_to_side_treats_each_axis_for_itself() -> None:
    # Columns alternate black and white: averaged they are gray, where a linear sample of the same
    # axis would alias. Rows grow meanwhile, and stay what they are.
    stripes = np.zeros((64, 1024), np.uint8)
    stripes[:, ::2] = 255
    for pixels in (stripes, stripes.T):
        square = to_side(np.ascontiguousarray(pixels), 128)
        assert square.shape == (128, 128)
        assert np.all((square == 127) | (square == 128))


@pytest.mark.parametrize("shape", [(64, 1024), (1024, 64), (300, 70), (64, 64), (96, 4000)])
def test_to_side_keeps_the_mean(shape: tuple[int, int]) -> None:
    square = to_side(picture(*shape), 160)
    assert square.shape == (160, 160)
    assert square.dtype == np.uint8
    assert square.mean() == pytest.approx(picture(*shape).mean(), abs=1.5)


def test_to_side_leaves_a_radiograph_of_that_side_alone() -> None:
    np.testing.assert_array_equal(to_side(picture(128, 128), 128), picture(128, 128))


def test_at_side_is_to_side() -> None:
    radiograph = Radiograph.read(encode(picture(90, 200)))
    np.testing.assert_array_equal(radiograph.at_side(64), to_side(picture(90, 200), 64))
