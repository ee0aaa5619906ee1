"""DICOM files, made here or installed with pydicom and pydicom-data."""

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
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Some are not valid, as real ones are not.
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


def read(file: bytes | Dataset, **options: Any) -> Radiograph:
    return Radiograph.read(file if isinstance(file, bytes) else to_bytes(file), **options)


def codes(file: bytes | Dataset, **options: Any) -> list[str]:
    """The codes of the warnings that a file is read with."""
    radiograph = read(file, **options)
    for doubt in radiograph.doubts:
        assert doubt.sentence.endswith(".")
        assert "ightingale" not in doubt.sentence + str(doubt.evidence)
    return [doubt.code for doubt in radiograph.doubts]


def refusal(file: bytes | Dataset, **options: Any) -> RadiographRefused:
    with pytest.raises(RadiographRefused) as caught:
        read(file, **options)
    assert str(caught.value).endswith(".")
    assert "Nightingale" not in str(caught.value)
    return caught.value


def installed(name: str) -> bytes:
    """A file of pydicom or pydicom-data, without asking the network."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"{name} is not installed"
    return Path(path).read_bytes()


def without(keyword: str) -> FileDataset:
    return as_dicom(ramp(), 8, **{keyword: None})


def with_syntax(syntax: str, pixel_data: bytes | None = None) -> FileDataset:
    dataset = as_dicom(ramp(), 8)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    if pixel_data is not None:
        dataset.PixelData = encapsulate([pixel_data])
        dataset["PixelData"].is_undefined_length = True
    return dataset
