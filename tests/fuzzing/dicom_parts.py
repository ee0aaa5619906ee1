"""A DICOM file in parts that may be wrong: written as they are, whatever the standard says."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Self

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

UNDEFINED = 0xFFFFFFFF
"""A length that the header does not tell: a delimiter ends the value."""

LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"})
"""Value representations whose explicit length has four bytes."""

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
TRANSFER_SYNTAX = 0x00020010


@dataclass(frozen=True, slots=True)
class Element:
    """A data element; `length` is what its header says where that is not the truth."""

    tag: int
    vr: bytes
    value: bytes
    length: int | None = None

    def written(self, implicit: bool) -> bytes:
        """Its bytes, little endian."""
        length = len(self.value) if self.length is None else self.length
        tag = struct.pack("<HH", self.tag >> 16 & 0xFFFF, self.tag & 0xFFFF)
        end = delimiter(SEQUENCE_END) if length == UNDEFINED else b""
        if implicit:
            return tag + struct.pack("<I", length & 0xFFFFFFFF) + self.value + end
        if self.vr in LONG_VRS:
            return tag + self.vr + struct.pack("<HI", 0, length & 0xFFFFFFFF) + self.value + end
        return tag + self.vr + struct.pack("<H", length & 0xFFFF) + self.value


@dataclass(slots=True)
class DicomParts:
    """The meta header and the data set of a little endian file."""

    meta: list[Element]
    elements: list[Element]
    prefix: bytes = field(default=bytes(128) + b"DICM")

    @classmethod
    def of(cls, data: bytes) -> Self | None:
        """The parts of a file; None where it is none that pydicom reads, or is big endian."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = pydicom.dcmread(BytesIO(data), force=True)
                if dataset.original_encoding[1] is not True:
                    return None
                return cls(list(_elements(dataset.file_meta)), list(_elements(dataset)))
        except Exception:
            return None

    def copy(self) -> "DicomParts":
        """One whose lists may be changed."""
        return replace(self, meta=list(self.meta), elements=list(self.elements))

    def get(self, keyword: str) -> bytes:
        """The value of an element of the data set; empty where it is not there."""
        tag = tag_for_keyword(keyword)
        return next((one.value for one in self.elements if one.tag == tag), b"")

    def put(self, keyword: str, value: bytes, vr: bytes | None = None) -> None:
        """Set an element of the data set, in its place by the order of tags."""
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        vr = vr or dictionary_VR(tag)[:2].encode()
        padding = b"\0" if vr in (b"OB", b"UI", b"UN") else b" "
        value += padding * (len(value) % 2)
        self.remove(keyword)
        place = next(
            (i for i, one in enumerate(self.elements) if one.tag > tag), len(self.elements)
        )
        self.elements.insert(place, Element(tag, vr, value))

    def remove(self, keyword: str) -> None:
        """Leave an element of the data set out."""
        tag = tag_for_keyword(keyword)
        self.elements = [one for one in self.elements if one.tag != tag]

    def put_syntax(self, uid: str) -> None:
        """Name a transfer syntax, whatever the pixels are."""
        self.meta = [one for one in self.meta if one.tag != TRANSFER_SYNTAX]
        self.meta.append(Element(TRANSFER_SYNTAX, b"UI", even(uid.encode())))

    @property
    def syntax(self) -> str:
        """The transfer syntax that the meta header names; empty where it names none."""
        found = (one.value for one in self.meta if one.tag == TRANSFER_SYNTAX)
        return next(found, b"").rstrip(b"\0 ").decode("ascii", "replace")

    def written(self) -> bytes:
        """The file, encoded as its transfer syntax says."""
        implicit = self.syntax == ImplicitVRLittleEndian
        body = b"".join(one.written(implicit) for one in self.elements)
        if self.syntax == DeflatedExplicitVRLittleEndian:
            squeezed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            body = squeezed.compress(body) + squeezed.flush()
        return self.prefix + b"".join(one.written(implicit=False) for one in self.meta) + body


def even(value: bytes) -> bytes:
    """A value padded by a zero byte."""
    return value + b"\0" * (len(value) % 2)


def delimiter(tag: int, length: int = 0) -> bytes:
    """An item's or a delimiter's header."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, length)


def fragments(value: bytes) -> list[bytes]:
    """The items of encapsulated pixel data, as far as they can be told apart."""
    found, place = [], 0
    while value[place : place + 4] == delimiter(ITEM)[:4]:
        (length,) = struct.unpack_from("<I", value, place + 4)
        found.append(value[place + 8 : place + 8 + length])
        place += 8 + length
    return found


def encapsulated(items: list[bytes]) -> bytes:
    """Items as the value of encapsulated pixel data."""
    return b"".join(delimiter(ITEM, len(even(one))) + even(one) for one in items)


def nested(depth: int, innermost: bytes, implicit: bool = False) -> bytes:
    """The value of a sequence of one item, in which is a sequence, and so on."""
    value = innermost
    for _ in range(depth):
        inner = Element(0x00400275, b"SQ", value, UNDEFINED).written(implicit)
        value = delimiter(ITEM, UNDEFINED) + inner + delimiter(ITEM_END)
    return value


def _elements(dataset: Dataset) -> Iterator[Element]:
    for tag in sorted(dataset.keys()):
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement):
            vr = (raw.VR or _vr(tag)).encode()
            undefined = UNDEFINED if raw.length == UNDEFINED else None
            yield Element(int(tag), vr, raw.value or b"", undefined)
        elif isinstance(raw, DataElement):
            yield _converted(raw)


def _vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)[:2]
    except KeyError:
        return "UN"


def _converted(element: DataElement) -> Element:
    """An element that pydicom has parsed already, as are sequences of undefined length."""
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_data_element(file, element)
    data = file.getvalue()
    vr = data[4:6]
    return Element(int(element.tag), vr, data[12 if vr in LONG_VRS else 8 :])
