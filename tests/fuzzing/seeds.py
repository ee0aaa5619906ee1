"""The files that mutations start from: real headers and made pictures, a patient's name in each."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Literal

import cv2
import data_store
import imagecodecs
import numpy as np
import pydicom.data
import tifffile
from dicom_parts import PIXEL_DATA, UNDEFINED, DicomParts, Element, encapsulated, even
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base
from PIL.PngImagePlugin import PngInfo
from pydicom import uid
from pydicom.pixels.encoders import RLELosslessEncoder

from localization import Radiograph

Kind = Literal["DICOM", "PNG", "JPEG", "JPEG 2000", "TIFF", "WebP"]

PATIENT = "Quexzoly^Anna"
BORN = "18670403"
PATIENT_ID = "QUEXZOLY-98765432123"
SECRETS = (b"quexzoly", b"98765432123", BORN.encode())
"""What no answer, log or metric may hold; to be looked for in lower case."""

REAL = Path(data_store.__file__).parent / "data"
"""Where pydicom-data keeps its files."""

LARGEST = 200_000
"""Bytes of a real file that is taken as it is."""


@dataclass(frozen=True)
class Seed:
    """A file to mutate, and its parts where it is a DICOM file."""

    name: str
    kind: Kind
    data: bytes
    parts: DicomParts | None = None
    is_read: bool = True
    """Whether it is a radiograph, as far as its header says; most mutations start from one."""


def told(said: bytes) -> list[bytes]:
    """The secrets that are in what was said."""
    said = said.lower()
    return [secret for secret in SECRETS if secret in said]


@cache
def seeds() -> tuple[Seed, ...]:
    """All of them, in an order that stays."""
    return (*_pictures(), *_made_dicom(), *_real_dicom())


@cache
def plane(bits: int = 8) -> NDArray[np.uint16]:
    """A small radiograph, a public one shrunk, of so many bits: uint16 `[120, 112]`."""
    radiograph = Radiograph.read((REAL / "RG1_UNCR.dcm").read_bytes())
    small = cv2.resize(
        radiograph.pixels.astype(np.float32), (112, 120), interpolation=cv2.INTER_AREA
    )
    return np.rint(small / 255 * (2**bits - 1)).astype(np.uint16)


def plant(parts: DicomParts) -> None:
    """Write a patient into the header, wherever a hospital may write one."""
    for keyword, value in {
        "PatientName": PATIENT,
        "PatientID": PATIENT_ID,
        "PatientBirthDate": BORN,
        "OtherPatientIDs": PATIENT_ID,
        "PatientComments": f"{PATIENT} fell from a ladder",
        "PatientAddress": "Quexzoly Street 1",
        "InstitutionName": "Quexzoly Hospital",
        "ReferringPhysicianName": PATIENT,
        "OperatorsName": PATIENT,
        "StudyDescription": f"chest of {PATIENT}",
        "SeriesDescription": PATIENT,
        "ProtocolName": PATIENT,
        "AccessionNumber": PATIENT_ID[:16],
        "StudyID": "QUEXZOLY",
        "StudyInstanceUID": "1.2.826.0.1.98765432123.1",
        "SeriesInstanceUID": "1.2.826.0.1.98765432123.2",
        "SOPInstanceUID": "1.2.826.0.1.98765432123.3",
        "ImageComments": PATIENT,
    }.items():
        parts.put(keyword, value.encode())


def _pictures() -> Iterator[Seed]:
    gray, deep = plane().astype(np.uint8), plane(bits=16)
    image, colours = Image.fromarray(gray), Image.fromarray(np.stack([gray] * 3, axis=2))
    exif = Image.Exif()
    exif[Base.Orientation], exif[Base.ImageDescription] = 1, PATIENT
    text = PngInfo()
    text.add_text("Patient", PATIENT)
    text.add_text("Comment", PATIENT * 20, zip=True)
    told_by = {"pnginfo": text, "exif": exif}
    yield Seed("gray.png", "PNG", _saved(image, "PNG"))
    yield Seed("told.png", "PNG", _saved(image, "PNG", **told_by))
    yield Seed("deep.png", "PNG", _saved(Image.fromarray(deep), "PNG", **told_by))
    yield Seed("rgba.png", "PNG", _saved(colours.convert("RGBA"), "PNG"))
    yield Seed("palette.png", "PNG", _saved(image.convert("P"), "PNG", transparency=3))
    jpeg = {"exif": exif, "comment": PATIENT, "quality": 90}
    yield Seed("gray.jpg", "JPEG", _saved(image, "JPEG", **jpeg))
    yield Seed("colours.jpg", "JPEG", _saved(colours, "JPEG", **jpeg))
    yield Seed("progressive.jpg", "JPEG", _saved(image, "JPEG", progressive=True, **jpeg))
    yield Seed("gray.webp", "WebP", _saved(image, "WEBP", exif=exif))
    yield Seed("lossless.webp", "WebP", _saved(colours, "WEBP", lossless=True))
    yield Seed("gray.jp2", "JPEG 2000", _saved(image, "JPEG2000", comment=PATIENT))
    yield Seed("deep.jp2", "JPEG 2000", _saved(Image.fromarray(deep), "JPEG2000"))
    yield Seed("tiles.j2k", "JPEG 2000", _saved(image, "JPEG2000", tile_size=(32, 32), no_jp2=True))
    for name, options in {
        "plain": {},
        "lzw": {"compression": "lzw", "predictor": True},
        "deflate": {"compression": "zlib", "rowsperstrip": 8},
        "jpeg": {"compression": "jpeg"},
        "tiles": {"tile": (32, 32)},
        "bigtiff": {"bigtiff": True},
        "big endian": {"byteorder": ">"},
    }.items():
        for pixels in (gray,) if name == "jpeg" else (gray, deep):
            file = BytesIO()
            tifffile.imwrite(file, pixels, metadata=None, description=PATIENT, **options)
            yield Seed(f"{name}{8 * pixels.itemsize}.tiff", "TIFF", file.getvalue())


def _saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def _made_dicom() -> Iterator[Seed]:
    gray, twelve = plane().astype(np.uint8), plane(bits=12)
    lossless = {"level": 0, "lossless": True}
    for name, syntax, pixels, frame in (
        ("jpeg", uid.JPEGBaseline8Bit, gray, imagecodecs.jpeg8_encode(gray)),
        ("jpeg-ll", uid.JPEGLosslessSV1, gray, imagecodecs.jpeg8_encode(gray, **lossless)),
        ("jpeg-ls", uid.JPEGLSLossless, twelve, imagecodecs.jpegls_encode(twelve)),
        ("j2k", uid.JPEG2000, gray, imagecodecs.jpeg2k_encode(gray, codecformat="j2k")),
        ("htj2k", uid.HTJ2KLossless, gray, imagecodecs.htj2k_encode(gray)),
        ("rle", uid.RLELossless, twelve, _run_lengths(twelve)),
    ):
        parts = _empty(syntax)
        show(parts, pixels, 8 if pixels is gray else 12)
        half = len(frame) // 2
        # In two fragments, which may be shuffled.
        items = [b"", frame] if name == "rle" else [b"", even(frame[: half // 2 * 2])]
        items += [] if name == "rle" else [frame[half // 2 * 2 :]]
        value = encapsulated(items)
        parts.elements = [one for one in parts.elements if one.tag != PIXEL_DATA]
        parts.elements.append(Element(PIXEL_DATA, b"OB", value, UNDEFINED))
        yield Seed(f"{name}.dcm", "DICOM", parts.written(), parts)
    for native in (
        uid.ExplicitVRLittleEndian,
        uid.ImplicitVRLittleEndian,
        uid.DeflatedExplicitVRLittleEndian,
    ):
        parts = _empty(native)
        show(parts, twelve, 12)
        yield Seed(f"{native.keyword}.dcm", "DICOM", parts.written(), parts)


def _run_lengths(pixels: NDArray[np.uint16]) -> bytes:
    rows, columns = pixels.shape
    return RLELosslessEncoder.encode(
        pixels,
        rows=rows,
        columns=columns,
        number_of_frames=1,
        samples_per_pixel=1,
        bits_allocated=16,
        bits_stored=16,
        photometric_interpretation="MONOCHROME2",
        pixel_representation=0,
    )


def _empty(syntax: uid.UID) -> DicomParts:
    parts = DicomParts([], [])
    parts.put_syntax(syntax)
    parts.put("SOPClassUID", uid.DigitalXRayImageStorageForPresentation.encode())
    parts.put("BodyPartExamined", b"CHEST")
    parts.put("ViewPosition", b"PA")
    parts.put("PatientOrientation", b"L\\F")
    parts.put("PixelSpacing", b"0.143\\0.143")
    parts.put("WindowCenter", b"2048\\128")
    parts.put("WindowWidth", b"4096\\256")
    parts.put("VOILUTFunction", b"LINEAR")
    parts.put("RescaleSlope", b"1")
    parts.put("RescaleIntercept", b"0")
    parts.put("PresentationLUTShape", b"IDENTITY")
    parts.put("PixelPaddingValue", struct.pack("<H", 0), b"US")
    plant(parts)
    return parts


def show(parts: DicomParts, pixels: NDArray[np.uint8] | NDArray[np.uint16], bits: int) -> None:
    """Make a data set show a radiograph, uncompressed, the rest of its header as it was."""
    rows, columns = pixels.shape
    parts.put("Modality", b"DX")
    parts.put("BodyPartExamined", b"CHEST")
    for keyword, number in {
        "SamplesPerPixel": 1,
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": 8 * pixels.itemsize,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
    }.items():
        parts.put(keyword, struct.pack("<H", number))
    parts.put("PhotometricInterpretation", b"MONOCHROME2")
    for keyword in ("NumberOfFrames", "PlanarConfiguration"):
        parts.remove(keyword)
    parts.put("PixelData", pixels.tobytes(), b"OW")


def _real_dicom() -> Iterator[Seed]:
    """Files of pydicom as they are, and the same headers over a small radiograph."""
    own = Path(pydicom.data.__file__).parent
    folders = (own / "test_files", own / "charset_files", REAL)
    paths = [path for folder in folders for path in folder.glob("*.dcm")]
    for path in sorted(paths, key=lambda path: path.name):
        data = path.read_bytes()
        parts = DicomParts.of(data)
        if parts is None:
            if len(data) <= LARGEST:
                yield Seed(path.name, "DICOM", data, is_read=False)
            continue
        plant(parts)
        if len(data) <= LARGEST:
            yield Seed(path.name, "DICOM", parts.written(), parts, is_read=False)
        if parts.get("PixelData"):
            yield _shrunk(path, parts.copy())


def _shrunk(path: Path, parts: DicomParts) -> Seed:
    parts.put_syntax(uid.ExplicitVRLittleEndian)
    show(parts, plane(bits=12), 12)
    return Seed(f"{path.stem}-shrunk.dcm", "DICOM", parts.written(), parts)
