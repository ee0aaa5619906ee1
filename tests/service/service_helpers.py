"""Radiographs as a client sends them, and a localizer that a test can hold."""

import io
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from localization import Compute, Localizer, ModelBundle

WIDTH, HEIGHT = 96, 64
MAX_UPLOAD_BYTES = 2_000_000
PATIENT = "Mustermann^Erika"


def pixels() -> np.ndarray:
    """A gray, grainy plane with a bright patch in its lower right quarter."""
    plane = np.random.default_rng(0).integers(70, 90, (HEIGHT, WIDTH), np.uint8)
    plane[40:56, 60:84] = 250
    return plane


def encode(image_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels()).save(file, image_format, **options)
    return file.getvalue()


def encode_dicom(*, frames: int = 1, with_pixels: bool = True, ct: bool = False) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage if ct else DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    dataset.Modality = "CT" if ct else "DX"
    dataset.PatientName = PATIENT
    dataset.PatientID = "4711-0815"
    if with_pixels:
        _add_pixels(dataset, frames)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _add_pixels(dataset: Dataset, frames: int) -> None:
    dataset.Rows, dataset.Columns = HEIGHT, WIDTH
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PixelData = pixels().tobytes() * frames


class GatedLocalizer(Localizer):
    """A localizer that a test can stop in the middle of an inference."""

    def __init__(self, bundle: ModelBundle) -> None:
        super().__init__(bundle, Compute("cpu", threads=1))
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def infer(self, inputs: Any, *, alone: bool = True) -> Any:
        self.entered.release()
        assert self.gate.wait(20), "the test never opened the gate"
        return super().infer(inputs, alone=alone)

    def close(self) -> None:
        """Hold every inference from here on, and forget those that went through before."""
        self.gate.clear()
        while self.entered.acquire(blocking=False):
            pass


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)
