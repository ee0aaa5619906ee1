"""One picture in every transfer syntax and encoding: the same pixels, and the same localization."""

import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import cv2
import numpy as np
import pydicom
import pytest
from dicom_files import as_dicom, installed, lut, read
from dicom_syntaxes import DEPTHS, ENCODERS, LOSSY, NATIVE, SIGNED, in_syntax
from encoding_survey import overlap
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, RLELossless

from localization import (
    Compute,
    Localization,
    Localizer,
    ModelBundle,
    Radiograph,
    RadiographRefused,
    shipped_bundle,
)


@dataclass(frozen=True)
class Way:
    """One of the ways to encode a picture."""

    syntax: str
    bits: int
    signed: bool
    inverted: bool
    slope: float
    intercept: int
    voi: str

    def encode(self, levels: NDArray[np.uint8]) -> bytes:
        """A DICOM file that is to be shown as `levels`, which run from 0 to 255."""
        most = 2**self.bits - 1
        values = np.rint(levels.astype(float) / 255 * most).astype(int)
        if self.inverted:
            values = most - values
        lowest = -(2 ** (self.bits - 1)) if self.signed else 0
        kind = f"{'i' if self.signed else 'u'}{1 if self.bits <= 8 else 2}"
        stored = (values + lowest).astype(kind)
        dataset = as_dicom(
            stored,
            self.bits,
            PhotometricInterpretation="MONOCHROME1" if self.inverted else "MONOCHROME2",
            PatientOrientation=["L", "F"],
        )
        if (self.slope, self.intercept) != (1, 0):
            dataset.RescaleSlope, dataset.RescaleIntercept = self.slope, self.intercept
        low = lowest * self.slope + self.intercept
        self._add_voi(dataset, low, low + most * self.slope)
        return in_syntax(dataset, stored, self.syntax)

    def _add_voi(self, dataset: Dataset, low: float, high: float) -> None:
        if self.voi == "LINEAR":
            dataset.WindowCenter, dataset.WindowWidth = (low + high + 1) / 2, high - low + 1
        elif self.voi == "LINEAR_EXACT":
            dataset.WindowCenter, dataset.WindowWidth = (low + high) / 2, high - low
            dataset.VOILUTFunction = "LINEAR_EXACT"
        elif self.voi == "LUT":
            count = 2**self.bits
            entries = np.linspace(0, 65535, count).astype(int).tolist()
            first = int(low) & 0xFFFF if low >= 0 else int(low)
            dataset.VOILUTSequence = [lut((count & 0xFFFF, first, 16), entries)]


@st.composite
def ways(draw: st.DrawFn, syntax: str) -> Way:
    bits = draw(st.integers(*DEPTHS.get(syntax, (8, 16))))
    signed = draw(st.booleans()) if SIGNED.get(syntax, True) else False
    voi = draw(st.sampled_from(["none", "LINEAR", "LINEAR_EXACT", "LUT"]))
    slope = 1.0 if voi == "LUT" else draw(st.sampled_from([1.0, 0.5, 3.0]))
    intercept = draw(st.sampled_from([0, -1024] if voi != "LUT" else [0]))
    return Way(syntax, bits, signed, draw(st.booleans()), slope, intercept, voi)


@cache
def film() -> NDArray[np.uint8]:
    """A real chest, 320 pixels a side, from 0 to 255."""
    small = cv2.resize(read(installed("RG1_UNCR.dcm")).pixels, (320, 320), interpolation=3)
    shown: NDArray[np.uint8] = cv2.normalize(small, None, 0, 255, cv2.NORM_MINMAX)
    return shown


@cache
def localizer(precision: Literal["auto", "fp32"]) -> Localizer:
    return Localizer(ModelBundle.load(shipped_bundle()), Compute("cpu", precision=precision))


def localized(radiograph: Radiograph, precision: Literal["auto", "fp32"] = "fp32") -> Localization:
    return localizer(precision).localize(radiograph)


def assert_same(one: Localization, other: Localization, lossy: bool = False) -> None:
    """The same probabilities within 0.01, and the same boxes within a pixel.

    Where an encoding loses a level here and there, heat maps differ a little. Boxes are drawn on a
    raster, and so their edges move by whole cells of it: the strongest ones must overlap well.
    """
    findings = {finding.disease: finding for finding in other.findings}
    for finding in one.findings:
        twin = findings[finding.disease]
        assert finding.probability == pytest.approx(twin.probability, abs=0.01)
        assert np.abs(finding.heatmap - twin.heatmap).max() < (0.05 if lossy else 0.001)
        if lossy and finding.positive and twin.positive:
            assert overlap(finding.boxes[0], twin.boxes[0]) > 0.75
        elif not lossy:
            np.testing.assert_allclose(corners(finding), corners(twin), atol=1)


def corners(finding: Any) -> list[tuple[float, ...]]:
    return sorted((box.x, box.y, box.width, box.height) for box in finding.boxes)


@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless, *ENCODERS])
@settings(max_examples=6, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_a_picture_is_the_same_however_it_is_encoded(syntax: str, data: st.DataObject) -> None:
    way = data.draw(ways(syntax), label="way")
    radiograph = read(way.encode(film()))
    differences = np.abs(radiograph.pixels.astype(int) - film())
    assert differences.max() <= (2 if syntax in LOSSY else 0)
    assert radiograph.doubts == ()
    same = localized(radiograph), localized(Radiograph(film(), "PNG"))
    assert_same(*same, lossy=syntax in LOSSY)


@pytest.mark.parametrize("precision", ["auto", "fp32"])
@pytest.mark.parametrize("name", ["RG1_UNCI.dcm", "RG1_J2KR.dcm", "RG1_J2KI.dcm"])
def test_all_files_of_one_film_give_one_answer(
    name: str, precision: Literal["auto", "fp32"]
) -> None:
    first = read(installed("RG1_UNCR.dcm"))
    other = read(installed(name))
    # Those whose names end in I went through JPEG 2000 with loss.
    lossy = name.endswith("I.dcm")
    assert np.abs(first.pixels.astype(int) - other.pixels).max() <= (3 if lossy else 0)
    assert_same(localized(first, precision), localized(other, precision), lossy)
    assert other.window == "window 15000/30000 (LINEAR)"
    assert other.image_left == "patient right"
    assert other.doubts == ()


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


@pytest.mark.parametrize("syntax", [RLELossless, *ENCODERS])
def test_damaged_codestreams_raise_nothing_but_refusals(syntax: str) -> None:
    """Nor do they take the process down; mostly in their headers, where decoders are led astray."""
    bits = DEPTHS.get(syntax, (12, 12))[0]
    data = Way(syntax, bits, False, False, 1, 0, "none").encode(film()[:128, :128])
    start = data.rindex(b"\xe0\x7f\x10\x00") + 28
    random = np.random.default_rng(0)
    outcomes: list[str] = []
    for end in [start + 150] * 60 + [len(data)] * 20:
        damaged = bytearray(data)
        for place in random.integers(start, end, size=3):
            damaged[place] = random.integers(256)
        try:
            outcomes.append(read(bytes(damaged)).format)
        except RadiographRefused as refused:
            outcomes.append(refused.reason)
    assert set(outcomes) <= {"DICOM", "broken", "truncated"}
    assert "broken" in outcomes


@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_codestream_that_ends_early_is_refused(syntax: str) -> None:
    values = (film()[:128, :128] * 16.0).astype(np.uint16) if syntax not in DEPTHS else None
    stored = film()[:128, :128] if values is None else values
    bits = 8 if values is None else 12
    if syntax == JPEGExtended12Bit:
        stored, bits = stored.astype(np.uint16), 12
    codestream = ENCODERS[syntax](stored, bits)
    dataset = as_dicom(stored, bits)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    dataset.PixelData = encapsulate([codestream[: len(codestream) // 2]])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    start = time.perf_counter()
    with pytest.raises(RadiographRefused) as caught:
        read(dataset)
    assert caught.value.reason == "broken"
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("syntax", NATIVE[:3])
def test_a_file_without_preamble_and_meta_header(syntax: str) -> None:
    data = Way(syntax, 12, False, False, 1, 0, "LINEAR").encode(film())
    with_meta = data[132:]
    meta_length = 12 + int.from_bytes(with_meta[8:12], "little")
    for bare_file in (b"DICM" + with_meta, with_meta, with_meta[meta_length:]):
        np.testing.assert_array_equal(read(bare_file).pixels, read(data).pixels)


@pytest.mark.parametrize("syntax", NATIVE)
def test_a_file_in_shared_memory_is_read_as_its_bytes_are(syntax: str) -> None:
    data = Way(syntax, 12, False, False, 1, 0, "LINEAR").encode(film())
    expected = read(data).pixels
    for file in (data, data[128:]) if syntax == NATIVE[3] else (data, data[128:], data[132:]):
        memory = bytearray(file)
        shown = Radiograph.read(memoryview(memory)).pixels
        memory[:] = bytes(len(memory))  # The next upload's: nothing of it may be in the picture.
        np.testing.assert_array_equal(shown, expected)


def test_compressed_pixels_without_a_meta_header_are_not_guessed_at() -> None:
    with_meta = Way(JPEGBaseline8Bit, 8, False, False, 1, 0, "none").encode(film())[132:]
    meta_length = 12 + int.from_bytes(with_meta[8:12], "little")
    with pytest.raises(RadiographRefused) as caught:
        read(with_meta[meta_length:])
    assert caught.value.reason == "transfer-syntax"
    assert "not given" in str(caught.value)
