"""Bytes to elements: what a file must have, and must not do, before its elements are believed."""

import zlib
from io import BytesIO
from typing import Any, BinaryIO

from pydicom import Dataset
from pydicom.dataset import FileDataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from localization.dicom.elements import BoundedBytes, require_short
from localization.dicom.silence import pydicom_silenced
from localization.refusal import RadiographRefused

PIXEL_DATA = 0x7FE00010
PIXEL_DESCRIPTION = (
    "SpecificCharacterSet",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
"""What is asked for without patience, by pydicom as well."""

SOP_CLASS = 0x00080016
STORAGE_CLASSES = "1.2.840.10008.5.1.4."
"""What the UIDs of all standard SOP classes of composite objects start with."""

PREAMBLE = bytes(128)

# What a file without preamble starts with: the meta header's group, or a data set's first, little
# or big endian.
META_GROUP = b"\x02\x00"
FIRST_GROUPS = (b"\x08\x00", b"\x00\x08")
HEADER_START = 2**16
"""Bytes in which the first elements of such a file must lie."""


def looks_like_dicom(data: bytes | memoryview) -> bool:
    """Whether bytes are a DICOM file: by its prefix, or, without preamble, by its first elements.

    Without the prefix, the bytes must be readable as elements up to a SOP Class UID of DICOM's
    own. Random bytes are not.
    """
    if data[128:132] == b"DICM" or data[:4] == b"DICM":
        return True
    start = BytesIO(data[:HEADER_START])
    try:
        with pydicom_silenced():
            if data[:2] == META_GROUP:
                sop_class = _meta_header(start).get("MediaStorageSOPClassUID")
            elif data[:2] in FIRST_GROUPS:
                sop_class = _first_elements(start).get("SOPClassUID")
            else:
                return False
    except Exception:
        return False
    return str(sop_class).startswith(STORAGE_CLASSES)


def parse(data: bytes | memoryview, max_pixels: int) -> FileDataset:
    """Parse the elements of a file; refuses one that has no pixel data, or not all of it.

    Args:
        data: the whole file, for which `looks_like_dicom` holds.
        max_pixels: the most pixels of a radiograph; what a deflated file inflates to may not be
            many times as much.

    Returns:
        The data set. Its meta header names the transfer syntax, found out where the file does not
        say it, or has no name for it.

    Raises:
        RadiographRefused: `no-pixels`, `truncated` or `too-many-pixels`.
        ValueError: it has more or longer elements than a radiograph.
    """
    if data[:4] == b"DICM":
        data = PREAMBLE + data
    _check_inflated_size(data, max_pixels)
    began = False

    def watch(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal began
        began = began or tag == PIXEL_DATA
        return False

    # What pydicom.dcmread does, plus a look at each element of the top level: of an element that
    # the file's end cuts off, pydicom says nothing and leaves it out or short.
    dataset = read_partial(BoundedBytes(data).file, stop_when=watch, force=True)
    for keyword in PIXEL_DESCRIPTION:
        require_short(dataset, keyword)
    element = dataset.get_item(PIXEL_DATA)
    value = element.value if element is not None else None
    if began and (element is None or len(value or b"") < _declared_length(element)):
        raise truncated()
    if not value:
        raise RadiographRefused(
            "no-pixels", "The DICOM file holds no image; send the object that holds the pixels."
        )
    if not dataset.file_meta.get("TransferSyntaxUID") and element is not None:
        _name_transfer_syntax(dataset, element)
    return dataset


def truncated() -> RadiographRefused:
    """The refusal of a file whose pixels are not all there."""
    return RadiographRefused(
        "truncated", "The DICOM file ends before its last pixel; send the whole file."
    )


def _declared_length(element: Any) -> int:
    """Bytes that an element's header promises; 0 where it promises none, being delimited."""
    length = int(getattr(element, "length", 0))
    return 0 if length == 0xFFFFFFFF else length


def _name_transfer_syntax(dataset: FileDataset, pixel_data: Any) -> None:
    """Name the native transfer syntax that pydicom read a file by which names none.

    Delimited pixel data is compressed, and which of a dozen ways was used would be a guess.
    """
    if _declared_length(pixel_data) == 0:
        return
    implicit, little = dataset.original_encoding
    native = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else native


def _check_inflated_size(data: bytes | memoryview, max_pixels: int) -> None:
    """Refuse a deflated file that grows beyond any radiograph; pydicom would inflate it all."""
    file = BoundedBytes(data).file
    file.seek(132 if data[128:132] == b"DICM" else 0)
    syntax = _meta_header(file).get("TransferSyntaxUID")
    if syntax is None or UID(syntax) != DeflatedExplicitVRLittleEndian:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    # At most 4 bytes a pixel, and room for other elements.
    inflater.decompress(data[file.tell() :], 4 * max_pixels + 2**24)
    if inflater.unconsumed_tail:
        raise RadiographRefused(
            "too-many-pixels",
            "The deflated DICOM file grows beyond the size of a radiograph; send it undeflated "
            "or at a lower resolution.",
        )
    if not inflater.eof:
        raise truncated()


def _meta_header(file: BinaryIO) -> Dataset:
    """The meta header that starts where the file stands, which then stands behind it."""
    start = file.tell()
    meta = _meta_elements(file, implicit=False)
    try:
        for _ in meta:
            pass  # Iterating converts each element.
    except NotImplementedError:
        # No value representation that there is. pydicom then takes the header for implicit, against
        # the standard, and a deflated file must not slip by for it.
        file.seek(start)
        meta = _meta_elements(file, implicit=True)
    return meta


def _meta_elements(file: BinaryIO, implicit: bool) -> Dataset:
    return read_dataset(
        file,
        is_implicit_VR=implicit,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag >> 16 != 2,
    )


def _first_elements(file: BytesIO) -> Dataset:
    """The elements of a data set without meta header, up to its SOP class."""
    return read_partial(file, stop_when=lambda tag, vr, length: tag > SOP_CLASS, force=True)
