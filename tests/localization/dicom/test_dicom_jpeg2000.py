"""JPEG 2000 and HTJ2K in DICOM: headers that lie, and signs that contradict each other."""

import struct
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from dicom_files import as_dicom, ramp, read, refusal, shown, with_syntax
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2K, JPEG2000, HTJ2KLossless, JPEG2000Lossless

from localization.jpeg2000.codestream import START

# The codestreams are those that pictures are refused for.
sys.path.append(str(Path(__file__).parents[1]))
from jpeg2000_headers import LYING, codestream, costs_nothing


def of_its_size(syntax: str, frame: bytes) -> FileDataset:
    """A data set whose rows and columns are those of its codestream, where 16 bits hold them."""
    dataset = with_syntax(syntax, frame)
    start = frame.find(START)
    if start >= 0:
        columns, rows = struct.unpack_from(">II", frame, start + 8)
        dataset.Columns, dataset.Rows = min(columns, 2**16 - 1), min(rows, 2**16 - 1)
    return dataset


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, HTJ2K])
@pytest.mark.parametrize(("data", "reason"), LYING)
def test_headers_that_lie_cost_nothing_in_dicom(data: bytes, reason: str, syntax: str) -> None:
    dataset = of_its_size(syntax, data)
    with costs_nothing():
        assert refusal(dataset).reason in {reason, "broken"}


def test_a_codestream_that_costs_nothing_is_read_where_another_would_not_be() -> None:
    dataset = of_its_size(JPEG2000, codestream(96, 72))
    assert not read(dataset).pixels.any()


def test_precincts_are_counted_in_the_codestream_that_is_decoded() -> None:
    """Not in one that a box before it holds."""
    small, costly = codestream(1024, 1024), codestream(1024, 1024, precinct=1)
    file = imagecodecs.jpeg2k_encode(np.zeros((1024, 1024), np.uint8), codecformat="jp2")
    boxes = struct.pack(">I4s", 8 + len(small), b"free") + small + struct.pack(">I4s", 0, b"jp2c")
    dataset = of_its_size(JPEG2000, file[: file.index(b"jp2c") - 4] + boxes + costly)
    with costs_nothing():
        assert refusal(dataset).reason == "broken"


def signed_under_unsigned(values: Any, bits: int, syntax: str) -> FileDataset:
    """A data set that says that there is no sign, and a codestream that has one."""
    dataset = as_dicom(values.view(np.uint16), bits)
    encode = imagecodecs.htj2k_encode if syntax == HTJ2KLossless else imagecodecs.jpeg2k_encode
    options = {} if syntax == HTJ2KLossless else {"level": 0, "codecformat": "j2k"}
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([encode(values, **options)])
    dataset["PixelData"].is_undefined_length = True
    return dataset


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, HTJ2KLossless])
def test_values_below_zero_under_a_header_without_a_sign_are_refused(syntax: str) -> None:
    values = ramp(16, signed=True, height=256)
    assert refusal(signed_under_unsigned(values, 16, syntax)).reason == "broken"


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, HTJ2KLossless])
def test_a_sign_that_no_value_has_contradicts_nothing(syntax: str) -> None:
    values = ramp(12, height=256).astype(np.int16)
    expected = shown(ramp(12, height=256), 12)
    np.testing.assert_array_equal(read(signed_under_unsigned(values, 16, syntax)).pixels, expected)
