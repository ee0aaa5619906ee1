"""How stored values become levels."""

from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import as_dicom, codes, lut, ramp, read, shown, to_bytes
from pydicom import Dataset

from localization.radiograph import Radiograph
from service.schemas import EXAMPLE_ANSWER


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [2, 5, 8, 10, 12, 15, 16])
def test_without_a_window_a_picture_runs_from_darkest_to_brightest(bits: int, signed: bool) -> None:
    pixels = shown(ramp(bits, signed=signed), bits)
    values = ramp(bits, signed=signed).astype(float)
    expected = 255 * (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(pixels, expected, atol=0.51)


def test_a_1_bit_picture() -> None:
    packed = np.packbits((ramp() > 127).astype(np.uint8), bitorder="little")
    dataset = as_dicom(ramp(), 1, BitsAllocated=1, PixelData=packed.tobytes())
    pixels = Radiograph.read(to_bytes(dataset)).pixels
    np.testing.assert_array_equal(pixels, np.where(ramp() > 127, 255, 0))


@pytest.mark.parametrize("signed", [False, True])
def test_32_bits_allocated_for_few_stored(signed: bool) -> None:
    narrow = ramp(12, signed=signed)
    wide = shown(narrow.astype(np.int32 if signed else np.uint32), 12)
    np.testing.assert_array_equal(wide, shown(narrow, 12))


def test_bits_beyond_the_stored_ones_are_not_pixels() -> None:
    """Overlays of old files stand there."""
    with_overlay = ramp(12) | np.uint16(0x8000)
    np.testing.assert_array_equal(shown(with_overlay, 12), shown(ramp(12), 12))


def test_a_picture_of_one_value_is_black() -> None:
    assert not shown(np.full((64, 64), 700, np.uint16), 12).any()


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 1500, "WindowWidth": 1000}])
def test_monochrome1_is_the_inverse_of_monochrome2(window: dict[str, int]) -> None:
    dark_is_low = shown(ramp(12), 12, **window)
    dark_is_high = shown(ramp(12), 12, PhotometricInterpretation="MONOCHROME1", **window)
    np.testing.assert_array_equal(dark_is_high, 255 - dark_is_low)


def test_a_window_over_all_values_keeps_8_bit_levels() -> None:
    np.testing.assert_array_equal(shown(ramp(), 8, WindowCenter=128, WindowWidth=256), ramp())


def test_a_window_is_applied_after_the_rescale() -> None:
    # Rescaled to 2 x - 100: 0 -> -100, 40 -> -20, 50 -> 0, 75 -> 50, 90 -> 80, 100 -> 100,
    # 200 -> 300. Window centre 40.5, width 81 (PS3.3 C.11.2.1.2.1): black at 0, white from 80 on.
    values = np.zeros((64, 64), np.uint16)
    values[0, :7] = [0, 40, 50, 75, 90, 100, 200]
    pixels = shown(
        values, 12, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=40.5, WindowWidth=81
    )
    assert pixels[0, :7].tolist() == [0, 0, 0, 159, 255, 255, 255]


def test_a_window_on_signed_values() -> None:
    values = np.full((64, 64), -1000, np.int16)
    values[0, :5] = [-300, -200, -150, -100, 900]
    pixels = shown(values, 16, WindowCenter=-149.5, WindowWidth=101)
    assert pixels[0, :5].tolist() == [0, 0, 128, 255, 255]


def test_a_negative_slope_turns_the_picture_around() -> None:
    for window in ({}, {"WindowCenter": 128, "WindowWidth": 256}):
        pixels = shown(ramp(), 8, RescaleSlope=-1, RescaleIntercept=255, **window)
        np.testing.assert_array_equal(pixels, 255 - ramp())


def test_of_several_windows_the_first_is_taken() -> None:
    several = shown(ramp(12), 12, WindowCenter=[900, 2000], WindowWidth=[300, 4000])
    np.testing.assert_array_equal(several, shown(ramp(12), 12, WindowCenter=900, WindowWidth=300))


def test_the_other_window_functions() -> None:
    values = ramp(12).astype(float)
    exact = shown(ramp(12), 12, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_allclose(exact, np.clip((values - 2000) / 1000 + 0.5, 0, 1) * 255, atol=0.51)
    sigmoid = shown(ramp(12), 12, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    np.testing.assert_allclose(sigmoid, 255 / (1 + np.exp(-4 * (values - 2000) / 1000)), atol=0.51)


def test_empty_optional_elements_count_as_absent() -> None:
    empty = shown(
        ramp(12),
        12,
        RescaleSlope="",
        RescaleIntercept="",
        WindowCenter="",
        WindowWidth="",
        VOILUTSequence=[],
        NumberOfFrames="1",
    )
    np.testing.assert_array_equal(empty, shown(ramp(12), 12))


def test_a_modality_lut_comes_before_the_window() -> None:
    # 8-bit entries for the values 10, 11, 12; those below take the first, those above the last.
    values = np.zeros((64, 64), np.uint8)
    values[0, :5] = [9, 10, 11, 12, 200]
    pixels = shown(
        values,
        8,
        ModalityLUTSequence=[lut((3, 10, 8), [50, 100, 150])],
        WindowCenter=100.5,
        WindowWidth=101,
    )
    assert pixels[0, :5].tolist() == [0, 0, 128, 255, 255]


def test_a_voi_lut_comes_after_the_rescale_and_before_any_window() -> None:
    # 12-bit entries that call themselves 16-bit, for the rescaled values -1, 0, 1, 2.
    values = np.zeros((64, 64), np.uint16)
    values[0, :6] = [0, 999, 1000, 1001, 1002, 4000]
    pixels = shown(
        values,
        12,
        RescaleSlope=1,
        RescaleIntercept=-1000,
        VOILUTSequence=[lut((4, -1, 16), [0, 1365, 2730, 4095])],
        WindowCenter=5,
        WindowWidth=2,
    )
    assert pixels[0, :6].tolist() == [0, 0, 85, 170, 255, 255]


WIDE = ramp(12, height=256)
"""A square ramp of 12 bits."""


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("limit", [None, 10])
def test_padding_is_black_and_takes_no_part_in_the_range(
    photometric: str, limit: int | None
) -> None:
    values = ramp(8).astype(np.int16) + 100
    values[:, :8], values[:, 8] = -2000, -1990
    elements: dict[str, Any] = {"PixelPaddingValue": -2000}
    if limit is not None:
        elements["PixelPaddingRangeLimit"] = -1990
    else:
        values[:, 8] = -2000
    pixels = shown(values, 16, PhotometricInterpretation=photometric, **elements)
    assert not pixels[:, :9].any()
    seen = pixels[0, 9:] if photometric == "MONOCHROME2" else pixels[0, :8:-1]
    np.testing.assert_allclose(seen, np.linspace(0, 255, 247), atol=0.51)


def test_padding_that_leaves_no_picture_is_none() -> None:
    everything = {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095}
    np.testing.assert_array_equal(shown(ramp(12), 12, **everything), shown(ramp(12), 12))


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted", "doubts"),
    [
        ("MONOCHROME2", "IDENTITY", False, []),
        ("MONOCHROME1", "INVERSE", True, []),
        ("MONOCHROME1", "IDENTITY", True, ["polarity"]),
        ("MONOCHROME2", "INVERSE", True, ["polarity"]),
        ("MONOCHROME2", "Nightingale", False, []),
    ],
)
def test_the_inversion_is_made_once(
    photometric: str, shape: str, inverted: bool, doubts: list[str]
) -> None:
    dataset = as_dicom(WIDE, 12, PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    assert codes(dataset) == doubts
    assert read(dataset).pixels[0, 0] == (255 if inverted else 0)


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"WindowCenter": 2048, "WindowWidth": 4096}, "window 2048/4096 (LINEAR)"),
        (
            {"WindowCenter": [2000, 900], "WindowWidth": [3000.5, 2000]},
            "window 1 of 2 2000/3000.5 (LINEAR)",
        ),
        (
            {"WindowCenter": 2048, "WindowWidth": 2000, "VOILUTFunction": "SIGMOID"},
            "window 2048/2000 (SIGMOID)",
        ),
        # The first shows nothing of this picture.
        (
            {"WindowCenter": [90_000, 2048], "WindowWidth": [300, 4096]},
            "window 2 of 2 2048/4096 (LINEAR)",
        ),
        (
            {"VOILUTSequence": [lut((2, 0, 16), [0, 1]), lut((4096, 0, 16), [*range(4096)])]},
            "VOI LUT 2 of 2",
        ),
        ({}, "darkest to brightest"),
    ],
)
def test_what_was_shown_is_said(elements: dict[str, Any], words: str) -> None:
    dataset = as_dicom(WIDE, 12, **elements)
    assert read(dataset).window == words
    assert codes(dataset) == []


def test_the_documented_example_of_an_answer_says_what_is_said() -> None:
    shown_by = as_dicom(WIDE, 12, WindowCenter=2048, WindowWidth=4096)
    assert read(shown_by).window == EXAMPLE_ANSWER["radiograph"]["window"]


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": 2048, "WindowWidth": 0},
        {"WindowCenter": 2048, "WindowWidth": -4096},
        {"WindowCenter": 2048, "WindowWidth": 1},
        {"WindowCenter": 2048},
        {"WindowCenter": "nan", "WindowWidth": 4096},
        {"WindowCenter": 2048, "WindowWidth": "1e400"},
        {"WindowCenter": 9000, "WindowWidth": 1000},
        {"WindowCenter": -9000, "WindowWidth": 1000},
        {"WindowCenter": 2048, "WindowWidth": 1_000_000},
        {"WindowCenter": 2048, "WindowWidth": 4096, "VOILUTFunction": "CUBIC"},
        {"WindowCenter": [2048, 2000], "WindowWidth": 4096},
        {"VOILUTSequence": [lut((256, 0, 16), [1, 2, 3])]},
        {"VOILUTSequence": [lut((3, 0, 16), [7, 7, 7])]},
        {"VOILUTSequence": [lut((3, 30_000, 16), [1, 2, 3])]},
        {"VOILUTSequence": [Dataset()]},
        {"ModalityLUTSequence": [lut((4096, 0, 16), [1, 2, 3])]},
        {"RescaleSlope": 0, "RescaleIntercept": 5},
        {"RescaleSlope": "nan", "RescaleIntercept": 5},
        {"RescaleSlope": "1e308", "RescaleIntercept": 5},
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_what_shows_nothing_is_replaced_and_said(
    elements: dict[str, Any], photometric: str
) -> None:
    dataset = as_dicom(WIDE, 12, PhotometricInterpretation=photometric, **elements)
    assert codes(dataset) == ["window-replaced"]
    assert codes(dataset, policy="off") == ["window-replaced"]
    assert read(dataset).window == "percentiles 0.5 to 99.5"
    expected = shown(WIDE, 12, PhotometricInterpretation=photometric).astype(int)
    assert np.abs(read(dataset).pixels - expected).max() <= 3


def test_a_few_pixels_far_away_do_not_hide_the_picture() -> None:
    values = WIDE // 16
    values[0, :20] = 65_535
    dataset = as_dicom(values, 16)
    assert np.abs(read(dataset).pixels[1].astype(int) - ramp()[0]).max() <= 4
    assert read(dataset).window == "percentiles 0.5 to 99.5"
    assert codes(dataset) == ["far-pixels"]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_few_hot_pixels_leave_13_bits_their_levels(photometric: str, signed: bool) -> None:
    """From darkest to brightest they would have 32 or more; not few enough to show nothing."""
    values = ramp(13, signed=signed, height=256)
    expected = shown(values, 16, PhotometricInterpretation=photometric).astype(int)
    values[0, :5] = 32_767 if signed else 65_535
    dataset = as_dicom(values, 16, PhotometricInterpretation=photometric)
    assert np.abs(read(dataset).pixels[1:] - expected[1:]).max() <= 4
    assert codes(dataset) == ["far-pixels"]
    assert codes(dataset, policy="off") == ["far-pixels"]


@pytest.mark.parametrize("signed", [False, True])
def test_values_in_the_upper_bits(signed: bool) -> None:
    """As old files have them, with an overlay below."""
    values = ramp(12, signed=signed)
    upper = (values << 4) | 0b101
    np.testing.assert_array_equal(shown(upper, 12, HighBit=15), shown(values, 12))


@pytest.mark.parametrize("word", ["OB", "OW"])
def test_a_table_of_bytes(word: str) -> None:
    item = lut((256, 0, 8), [0])
    entries = np.arange(255, -1, -1).astype(np.uint8 if word == "OB" else np.uint16)
    item["LUTData"] = pydicom.DataElement("LUTData", "OW", entries.tobytes())
    np.testing.assert_array_equal(shown(ramp(), 8, VOILUTSequence=[item]), 255 - ramp())
