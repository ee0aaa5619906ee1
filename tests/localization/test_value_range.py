"""Pictures of over 8 bits, which have no window: a few pixels take no levels from all others."""

from collections.abc import Callable
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from picture_helpers import DEEP, assert_shown, encode, picture, rgb, tiff

from localization import Radiograph
from localization.value_range import Values, show_range

ANATOMY = DEEP // 16 + 300
"""Of 12 bits."""


def png_of_colours(pixels: NDArray[Any]) -> bytes:
    return cv2.imencode(".png", rgb(pixels))[1].tobytes()


def jpeg2000(pixels: NDArray[Any]) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="jp2", bitspersample=16, level=0))


FORMATS: dict[str, Callable[[NDArray[Any]], bytes]] = {
    "PNG": encode,
    "RGB PNG": png_of_colours,
    "TIFF": tiff,
    "JPEG 2000": jpeg2000,
}


@pytest.mark.parametrize("name", FORMATS)
def test_an_ordinary_deep_picture_runs_from_darkest_to_brightest(name: str) -> None:
    radiograph = assert_shown(FORMATS[name](ANATOMY), picture(), within=1)
    assert radiograph.window == "darkest to brightest"
    assert radiograph.doubts == ()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("count", [5, 140], ids=["hot pixels", "a marker"])
@pytest.mark.parametrize("value", [0, 65_535])
def test_a_few_pixels_far_away_take_no_levels(value: int, count: int, name: str) -> None:
    """A marker of 140 pixels covers 2 % of the picture, more than a percentile leaves out."""
    pixels = ANATOMY + (0 if value else 40_000)
    expected = picture()
    pixels.ravel()[:count] = value
    expected.ravel()[:count] = 255 if value else 0
    radiograph = assert_shown(FORMATS[name](pixels), expected, within=8)
    assert radiograph.window == "percentiles 0.5 to 99.5"
    (doubt,) = radiograph.doubts
    assert doubt.code == "far-pixels"
    assert doubt.sentence.endswith(".")
    assert not doubt.disqualifying
    assert 0 < doubt.evidence["share"] < doubt.evidence["limit"]


def test_pixels_that_fill_the_way_to_a_far_one_are_few_as_well() -> None:
    pixels = ANATOMY.copy()
    pixels.ravel()[:30] = np.linspace(5_000, 65_535, 30)
    expected = picture()
    expected.ravel()[:30] = 255
    assert_shown(encode(pixels), expected, within=8)


def test_a_picture_of_8_bits_keeps_its_levels() -> None:
    gray = picture() // 8
    gray[0, :5] = 255
    radiograph = assert_shown(encode(gray), gray)
    assert radiograph.window is None
    assert radiograph.doubts == ()


def test_a_picture_of_one_value_but_for_a_few_pixels_is_all_there() -> None:
    pixels = np.full((72, 96), 4000, np.uint16)
    pixels[0, :5] = 9000
    radiograph = Radiograph.read(encode(pixels))
    assert np.unique(radiograph.pixels).tolist() == [0, 255]
    assert radiograph.doubts == ()


def test_many_pixels_at_an_end_are_part_of_the_picture() -> None:
    """As an empty border is."""
    pixels = ANATOMY + 10_000
    pixels[:, :10] = 0
    assert Radiograph.read(encode(pixels)).window == "darkest to brightest"


@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_values_of_any_sign_and_order_are_ranged(dtype: Any) -> None:
    values: Values = np.arange(2**16, dtype=np.uint16).view(np.int16)[::-1].astype(dtype)
    counts = np.zeros(2**16, np.float32)
    counts[np.abs(values.astype(int)) < 2000] = 10
    counts[values.argmin()] = 3
    shown = show_range(values, counts)
    assert shown.words == "percentiles 0.5 to 99.5"
    inside = np.abs(values.astype(int)) < 1900
    expected = (values[inside] + 2000.0) / 4000 * 255
    np.testing.assert_allclose(shown.levels[inside], expected, atol=2)
