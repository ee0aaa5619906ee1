"""DICOM files, made here or installed with pydicom and pydicom-data, as they are shown."""

import logging
import threading
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from localization.radiograph import Radiograph, RadiographRefused

PATIENT = "Nightingale^Florence"


def ramp(bits: int = 8, *, signed: bool = False, height: int = 64) -> NDArray[Any]:
    """`[height, 256]`: in each row, evenly from the smallest to the largest value of the bits."""
    low = -(2 ** (bits - 1)) if signed else 0
    row = np.rint(np.linspace(low, low + 2**bits - 1, 256))
    dtype = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    return np.tile(row.astype(dtype), (height, 1))


def as_dicom(pixels: NDArray[Any], bits: int, **elements: Any) -> FileDataset:
    """A DX data set of one frame; further elements by keyword, None to leave one out."""
    dataset = FileDataset("", {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = generate_uid()
    dataset.PatientName = PATIENT
    dataset.Modality = "DX"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in elements.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset


def lut(descriptor: tuple[int, int, int], entries: list[int]) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US" if descriptor[1] >= 0 else "SS", list(descriptor))
    item.add_new("LUTData", "US", entries)
    return item


def to_bytes(dataset: Dataset, **options: Any) -> bytes:
    """The file of a data set, its values written as they are, valid or not."""
    file = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(file, enforce_file_format=True, **options)
    return file.getvalue()


def shown(pixels: NDArray[Any], bits: int, **elements: Any) -> NDArray[np.uint8]:
    radiograph = Radiograph.read(to_bytes(as_dicom(pixels, bits, **elements)))
    assert radiograph.format == "DICOM"
    assert radiograph.pixels.shape == pixels.shape
    assert radiograph.pixels.dtype == np.uint8
    return radiograph.pixels


def refusal(file: bytes | Dataset, **options: Any) -> RadiographRefused:
    with pytest.raises(RadiographRefused) as caught:
        Radiograph.read(file if isinstance(file, bytes) else to_bytes(file), **options)
    assert str(caught.value).endswith(".")
    assert "Nightingale" not in str(caught.value)
    return caught.value


def installed(name: str) -> bytes:
    """A file of pydicom or pydicom-data, without asking the network."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"{name} is not installed"
    return Path(path).read_bytes()


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


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_every_encoding_of_a_picture_gives_the_same_pixels(syntax: pydicom.uid.UID) -> None:
    dataset = as_dicom(ramp(12), 12)
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = ramp(12).astype(">u2").tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.set_original_encoding(False, False)
        data = to_bytes(dataset, little_endian=False, implicit_vr=False)
    else:
        data = to_bytes(dataset)
    np.testing.assert_array_equal(Radiograph.read(data).pixels, shown(ramp(12), 12))


def test_run_length_encoding() -> None:
    dataset = as_dicom(ramp(12), 12)
    dataset.compress(RLELossless)
    pixels = Radiograph.read(to_bytes(dataset)).pixels
    np.testing.assert_array_equal(pixels, shown(ramp(12), 12))


def test_a_chest_of_monochrome1_is_bright_where_it_is_dense() -> None:
    radiograph = Radiograph.read(installed("RG1_UNCR.dcm"))
    assert (radiograph.width, radiograph.height) == (1841, 1955)
    levels = radiograph.at_side(512).astype(float)
    mediastinum, right_lung, left_lung = (
        levels[200:300, 240:270].mean(),
        levels[90:160, 130:200].mean(),
        levels[110:160, 300:380].mean(),
    )
    assert mediastinum > right_lung + 40
    assert mediastinum > left_lung + 40
    lossless = Radiograph.read(installed("RG1_J2KR.dcm"))
    np.testing.assert_array_equal(lossless.pixels, radiograph.pixels)


def without(keyword: str) -> FileDataset:
    return as_dicom(ramp(), 8, **{keyword: None})


def with_syntax(syntax: str, pixel_data: bytes | None = None) -> FileDataset:
    dataset = as_dicom(ramp(), 8)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    if pixel_data is not None:
        dataset.PixelData = encapsulate([pixel_data])
        dataset["PixelData"].is_undefined_length = True
    return dataset


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (without("PixelData"), "no-pixels"),
        (without("Modality"), "modality"),
        (as_dicom(ramp(), 8, Modality=""), "modality"),
        (as_dicom(ramp(), 8, Modality="MG"), "modality"),
        (as_dicom(ramp(), 8, Modality=["CR", "CT"]), "modality"),
        (as_dicom(ramp(), 8, NumberOfFrames=2, PixelData=ramp().tobytes() * 2), "multi-frame"),
        (as_dicom(ramp(), 8, PhotometricInterpretation="RGB"), "photometric"),
        (as_dicom(ramp(), 8, PhotometricInterpretation="PALETTE COLOR"), "photometric"),
        (without("PhotometricInterpretation"), "photometric"),
        (as_dicom(ramp(), 8, Rows=40_000, Columns=40_000), "too-many-pixels"),
        (as_dicom(ramp(), 8, Rows=63), "too-small"),
        (as_dicom(ramp(), 8, Rows=0), "too-small"),
        (as_dicom(ramp(), 8, Rows=65), "truncated"),
        (as_dicom(ramp(), 8, BitsAllocated=16, BitsStored=12), "truncated"),
        (as_dicom(ramp(), 8, BitsAllocated=32, BitsStored=32), "bit-depth"),
        (as_dicom(ramp(), 8, WindowCenter=100, WindowWidth=0), "window"),
        (as_dicom(ramp(), 8, WindowCenter=100, WindowWidth=-50), "window"),
        (
            as_dicom(ramp(), 8, WindowCenter=100, WindowWidth=50, VOILUTFunction="CUBIC"),
            "window",
        ),
        (without("Rows"), "broken"),
        (without("BitsStored"), "broken"),
        (as_dicom(ramp(16), 12, BitsAllocated=12), "broken"),
        (as_dicom(ramp(), 8, SamplesPerPixel=3, PixelData=ramp().tobytes() * 3), "broken"),
        (
            as_dicom(ramp(), 8, VOILUTSequence=[lut((256, 0, 16), [1, 2, 3])]),
            "broken",
        ),
        (with_syntax(JPEGBaseline8Bit, b"\xff\xd8\xff no JPEG at all"), "broken"),
        (with_syntax(RLELossless, b"\0" * 80), "broken"),
    ],
)
def test_a_dicom_file_that_cannot_be_shown_is_refused_for_its_own_reason(
    dataset: Dataset, reason: str
) -> None:
    assert refusal(dataset).reason == reason


def test_refusals_name_what_was_found() -> None:
    assert "is CT;" in str(refusal(installed("CT_small.dcm")))
    assert "not given" in str(refusal(without("Modality")))
    unreadable = refusal(with_syntax(JPEGLSLossless, b"any"))
    assert unreadable.reason == "transfer-syntax"
    assert "JPEG-LS Lossless" in str(unreadable)


def test_an_unknown_transfer_syntax_is_refused_and_not_quoted() -> None:
    unknown = refusal(with_syntax("1.2.3.4.5"))
    assert unknown.reason == "transfer-syntax"
    assert "1.2.3" not in str(unknown)


def test_a_name_in_place_of_the_modality_is_not_quoted() -> None:
    # Same length, so that the element's header stays right.
    data = to_bytes(as_dicom(ramp(), 8, Modality="CRCRCRCRCRCRCR"))
    misfiled = refusal(data.replace(b"CRCRCRCRCRCRCR", b"NIGHTINGALE^FL"))
    assert misfiled.reason == "modality"
    assert "NIGHT" not in str(misfiled)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("CT_small.dcm", "modality"),
        ("emri_small.dcm", "modality"),
        ("MR_truncated.dcm", "truncated"),
        ("test-SR.dcm", "no-pixels"),
        ("rtplan.dcm", "no-pixels"),
        ("ExplVR_LitEndNoMeta.dcm", "unsupported-format"),
    ],
)
def test_what_else_a_hospital_sends_is_refused(name: str, reason: str) -> None:
    assert refusal(installed(name)).reason == reason


def test_the_pixel_limit_is_inclusive() -> None:
    data = to_bytes(as_dicom(ramp(), 8))
    assert Radiograph.read(data, max_pixels=64 * 256).width == 256
    assert refusal(data, max_pixels=64 * 256 - 1).reason == "too-many-pixels"


def test_a_deflated_file_that_grows_without_end_is_refused() -> None:
    dataset = as_dicom(np.zeros((2000, 20_000), np.uint8), 8)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data = to_bytes(dataset)
    assert len(data) < 100_000
    assert refusal(data, max_pixels=10_000).reason == "too-many-pixels"


@pytest.mark.parametrize("kind", ["plain", "implicit", "deflated", "RLE"])
def test_a_file_cut_anywhere_is_refused_or_read_whole(kind: str) -> None:
    dataset = as_dicom(ramp(12), 12, WindowCenter=2000, WindowWidth=1000)
    if kind == "RLE":
        dataset.compress(RLELossless)
    elif kind != "plain":
        dataset.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if kind == "implicit" else DeflatedExplicitVRLittleEndian
        )
    data = to_bytes(dataset)
    whole = Radiograph.read(data).pixels
    in_header = range(130, min(1000, len(data)), 9)
    anywhere = np.linspace(1, len(data) - 1, 50, dtype=int)
    for end in [*in_header, *anywhere]:
        try:
            pixels = Radiograph.read(data[:end]).pixels
        except RadiographRefused:
            continue
        np.testing.assert_array_equal(pixels, whole)
    assert refusal(data[: len(data) - 40]).reason == "truncated"


def test_flipped_bytes_raise_nothing_but_refusals() -> None:
    data = to_bytes(
        as_dicom(
            ramp(12),
            12,
            RescaleSlope=1,
            RescaleIntercept=0,
            VOILUTSequence=[lut((4, 0, 16), [0, 1365, 2730, 4095])],
        )
    )
    header = len(data) - ramp(12).nbytes
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for place in random.integers(132, header, size=2):
            damaged[place] = random.integers(256)
        try:
            Radiograph.read(bytes(damaged))
        except RadiographRefused:
            continue


class Records(logging.Handler):
    """What a service's own log would get. (caplog listens where records do not arrive, too.)"""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def test_pydicoms_complaints_reach_neither_warnings_nor_logs(
    capfd: pytest.CaptureFixture[str],
) -> None:
    # A value that pydicom quotes in a warning, and an end of which it warns and logs.
    window = to_bytes(as_dicom(ramp(), 8, WindowCenter="128.000", WindowWidth="256"))
    quoted = window.replace(b"128.000 ", b"Nighting")
    assert quoted != window
    cut = to_bytes(with_syntax(JPEGBaseline8Bit, b"\xff\xd8\xff"))[:-8]
    log = Records()
    logging.getLogger().addHandler(log)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert refusal(quoted).reason == "window"
            assert refusal(cut).reason == "truncated"
    finally:
        logging.getLogger().removeHandler(log)
    assert not caught
    assert not log.messages
    assert "".join(capfd.readouterr()) == ""


def test_threads_that_read_together_leave_the_warning_filters_as_they_were() -> None:
    data = to_bytes(as_dicom(ramp(), 8))
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [Radiograph.read(data) for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
