"""The radiographs that are sent: one public chest film in three formats and two sizes."""

from dataclasses import dataclass
from io import BytesIO

import cv2
import pydicom
from PIL import Image
from pydicom.data import get_testdata_file

from localization import Radiograph

FORMATS, SIDES = ("png", "jpeg", "dicom"), (1024, 2500)
NAMES = tuple(f"{file_format}-{side}" for side in SIDES for file_format in FORMATS)

JPEG_QUALITY = 90


@dataclass(frozen=True)
class Sample:
    """A radiograph's file."""

    name: str
    data: bytes


def make(name: str) -> Sample:
    """Make the radiograph of a name such as `png-1024`: format and side in pixels.

    Raises:
        FileNotFoundError: the package pydicom-data, which holds the film, is not installed.
    """
    file_format, _, side = name.partition("-")
    dicom = _dicom(int(side))
    return Sample(name, dicom if file_format == "dicom" else _picture(dicom, file_format))


def _dicom(side: int) -> bytes:
    """The film as an uncompressed 16-bit DICOM file of side x side pixels."""
    film = get_testdata_file("RG1_UNCR.dcm", download=False)
    if film is None:
        raise FileNotFoundError("RG1_UNCR.dcm is not here; install pydicom-data.")
    dataset = pydicom.dcmread(film)
    pixels = dataset.pixel_array
    # Neither overshoots: the film's bits stay enough.
    shrinks = side < min(pixels.shape)
    resized = cv2.resize(
        pixels, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    dataset.Rows = dataset.Columns = side
    dataset.PixelData = resized.tobytes()
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _picture(dicom: bytes, file_format: str) -> bytes:
    """What a DICOM file shows, as an 8-bit PNG or JPEG."""
    file = BytesIO()
    # Pillow chooses each row's filter by its content, as PNG recommends: undoing it costs time.
    Image.fromarray(Radiograph.read(dicom).pixels).save(file, file_format, quality=JPEG_QUALITY)
    return file.getvalue()
