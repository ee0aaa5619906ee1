"""What all picture formats have in common, and what is none of them."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_helpers import COLOURED, DEEP, assert_shown, encode, picture, refusal, rgb, tiff
from PIL import ExifTags, Image, ImageFile, ImageOps

from localization import Radiograph, RadiographRefused
from localization.radiograph import Format

WRITERS = {"PNG": "PNG", "JPEG": "JPEG", "JPEG 2000": "JPEG2000", "TIFF": "TIFF", "WebP": "WEBP"}
"""Pillow's names of the formats."""


@pytest.mark.parametrize("name", WRITERS)
def test_the_answer_names_the_format(name: Format) -> None:
    assert assert_shown(encode(picture(), WRITERS[name]), picture(), within=9).format == name


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("name", "stored"),
    [
        pytest.param("JPEG 2000", picture(), id="JPEG 2000"),
        pytest.param("JPEG 2000", DEEP, id="JPEG 2000 of 16 bits"),
        pytest.param("TIFF", picture(), id="TIFF"),
        pytest.param("TIFF", DEEP, id="TIFF of 16 bits"),
        pytest.param("WebP", picture(), id="WebP"),
    ],
)
def test_the_orientation_turns_the_picture_upright(
    name: str, stored: np.ndarray, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = Image.fromarray(picture())
    image.getexif()[ExifTags.Base.Orientation] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    if name == "TIFF":
        data = encode(stored, "TIFF", tiffinfo={ExifTags.Base.Orientation: orientation})
    elif name == "WebP":
        data = encode(stored, "WEBP", exif=exif, lossless=True)
    else:
        data = with_exif_box(encode(stored, "JPEG2000"), exif.tobytes()[6:])
    assert_shown(data, expected)


def with_exif_box(jp2: bytes, exif: bytes) -> bytes:
    """A JP2 file with EXIF before its codestream, in the box that ExifTool and others write."""
    content = b"JpgTiffExif->JP2" + exif
    box = (8 + len(content)).to_bytes(4, "big") + b"uuid" + content
    codestream = jp2.index(b"jp2c") - 4
    return jp2[:codestream] + box + jp2[codestream:]


@pytest.mark.parametrize("name", ["JPEG 2000", "TIFF", "WebP"])
def test_colours_are_refused_and_gray_in_three_channels_is_not(name: str) -> None:
    assert refusal(encode(COLOURED, WRITERS[name])).reason == "coloured"
    assert_shown(encode(rgb(picture()), WRITERS[name], lossless=True), picture())


@pytest.mark.parametrize("name", ["JPEG 2000", "TIFF", "WebP"])
def test_transparency_lies_over_black(name: str) -> None:
    alpha = np.full((72, 96), 255, np.uint8)
    alpha[:, :20] = 0
    alpha[:, 20:30] = 51
    expected = np.rint(picture() * (alpha / 255)).astype(np.uint8)
    for stored in ([picture()] * 3, [picture()]):
        pixels = np.stack([*stored, alpha], axis=2)
        data = encode(pixels, WRITERS[name], lossless=True, exact=True)
        assert_shown(data, expected, within=1)


@pytest.mark.parametrize("name", WRITERS)
def test_the_size_is_asked_of_the_header(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(picture(), WRITERS[name])

    def decode(*_: Any) -> None:
        raise AssertionError("a decoder was called")

    with monkeypatch.context() as patch:
        patch.setattr(ImageFile.ImageFile, "load", decode)
        patch.setattr(cv2, "imdecode", decode)
        assert refusal(data, max_pixels=72 * 96 - 1).reason == "too-many-pixels"
        assert refusal(encode(picture(63, 96), WRITERS[name])).reason == "too-small"
    assert Radiograph.read(data, max_pixels=72 * 96).width == 96


@pytest.mark.parametrize("name", WRITERS)
def test_pillows_own_limit_of_pixels_plays_no_part(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert_shown(encode(picture(), WRITERS[name]), picture(), within=9)


OTHERS = {
    "nothing known": b"no picture, whatever its name says",
    "zeros": bytes(500),
    "GIF": encode(picture(), "GIF"),
    "BMP": encode(picture(), "BMP"),
    "AVIF": encode(picture(), "AVIF"),
    "PPM": encode(picture(), "PPM"),
    "ICO": encode(picture(), "ICO"),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(300),
    "JPEG XL codestream": b"\xff\x0a" + bytes(300),
    "PDF": b"%PDF-1.7 " + bytes(300),
    "SVG": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "NIfTI": b"\x5c\x01\0\0" + bytes(340) + b"n+1\0" + bytes(64),
    "gzip": b"\x1f\x8b\x08" + bytes(300),
    "ZIP": b"PK\x03\x04" + bytes(300),
    "EXR": b"v/1\x01" + bytes(300),
    "WAV": b"RIFF\x24\0\0\0WAVEfmt " + bytes(300),
    "DICOM without preamble": b"\x08\0\x05\0CS\n\0ISO_IR 100" + bytes(300),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_listed_format_meets_no_decoder(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: Any, **__: Any) -> None:
        raise AssertionError("a decoder was called")

    monkeypatch.setattr(ImageFile.ImageFile, "__init__", decode)
    monkeypatch.setattr(Image, "open", decode)
    monkeypatch.setattr(cv2, "imdecode", decode)
    monkeypatch.setattr("localization.radiograph.read_dicom", decode)
    assert refusal(OTHERS[name]).reason == "unsupported-format"


FILES = {
    "PNG": [encode(picture()), encode(DEEP)],
    "JPEG": [encode(picture(), "JPEG"), encode(picture(), "JPEG", progressive=True)],
    "JPEG 2000": [
        encode(picture(), "JPEG2000"),
        encode(DEEP, "JPEG2000", no_jp2=True),
        encode(rgb(picture()), "JPEG2000", tile_size=(32, 32)),
        encode(picture(), "JPEG2000", precinct_size=(32, 32), codeblock_size=(8, 8)),
    ],
    "TIFF": [
        tiff(picture(), rowsperstrip=10),
        tiff(DEEP, byteorder=">", bigtiff=True, tile=(32, 48)),
        tiff(rgb(DEEP), photometric="rgb", compression="lzw", predictor=True),
        tiff(picture(), compression="adobe_deflate", tile=(32, 48)),
        tiff(picture(), compression="jpeg", rowsperstrip=24),
        tiff(picture(), compression="packbits"),
        encode(Image.fromarray(picture() > 127), "TIFF", compression="group4"),
        encode(Image.fromarray(picture()).quantize(), "TIFF"),
    ],
    "WebP": [
        encode(picture(), "WEBP"),
        encode(picture(), "WEBP", lossless=True),
        encode(np.stack([*[picture()] * 3, 255 - picture()], axis=2), "WEBP"),
    ],
}

NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\1\0\0\0")


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """A file of a format with some bytes changed, most of them in its headers, or some missing."""
    data = bytearray(draw(st.sampled_from(FILES[name])))
    for _ in range(draw(st.integers(1, 6))):
        reach = min(len(data), draw(st.sampled_from([100, 400, len(data)]))) - 1
        place = draw(st.integers(0, reach))
        if name == "TIFF" and draw(st.booleans()):
            # Writers put the directory first or last.
            place = len(data) - 1 - place
        change = draw(st.sampled_from(["byte", "number", "cut", "insert"]))
        if change == "byte":
            data[place] = draw(st.integers(0, 255))
        elif change == "number":
            data[place : place + 4] = draw(st.sampled_from(NUMBERS))
        elif change == "cut":
            del data[place : place + draw(st.integers(1, 30))]
        else:
            data[place:place] = draw(st.binary(min_size=1, max_size=8))
    return bytes(data)


@pytest.mark.parametrize("name", FILES)
@settings(
    max_examples=400,
    deadline=timedelta(seconds=5),
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(choice=st.data())
def test_a_damaged_file_raises_nothing_but_refusals(name: str, choice: st.DataObject) -> None:
    data = choice.draw(damaged(name))
    with suppress(RadiographRefused):
        pixels = Radiograph.read(data, max_pixels=2**20).pixels
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 2
        assert 64 * 64 <= pixels.size <= 2**20
