"""Elements asked for with patience: what is absent, empty or not of its type is no error here."""

import math
from io import SEEK_CUR, SEEK_END, SEEK_SET
from typing import Any, BinaryIO, cast

from pydicom import Dataset
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_sequence

MOST_ITEMS = 16
"""Of a sequence or of several values, no more are looked at: a file may hold a million."""

LONGEST = 2**16
"""Bytes of a text or number: more than explicit VR can write of most types (PS3.5, 7.1.2)."""

MOST_READS = 200_000
"""Of a file or of a sequence: two or three for each element, sequences' own among them."""


class BoundedBytes:
    """Bytes to parse, until it is clear that they have far more elements than a radiograph.

    A file of zeros behind a header is millions of empty elements, of a few microseconds each.
    It reads where the bytes lie, as `BytesIO` does of `bytes` alone.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._place = self._reads = 0

    def read(self, size: int = -1, /) -> bytes:
        """Read as from any file; raises ValueError at the read that is one too many."""
        self._reads += 1
        if self._reads > MOST_READS:
            raise ValueError("too many elements")
        end = len(self._data) if size < 0 else self._place + size
        part = self._data[self._place : end].tobytes()
        self._place += len(part)
        return part

    @property
    def file(self) -> BinaryIO:
        """Itself, as pydicom declares it: it asks for no more of a file than there is here."""
        return cast(BinaryIO, self)

    def tell(self) -> int:
        """The place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = SEEK_SET, /) -> int:
        """Go to a place, as in any file; raises ValueError for one before the first byte."""
        place = offset + {SEEK_SET: 0, SEEK_CUR: self._place, SEEK_END: len(self._data)}[whence]
        if place < 0:
            raise ValueError("before the first byte")
        self._place = place
        return place


def require_short(dataset: Dataset, keyword: str) -> None:
    """Raise ValueError where an element is longer than any text or number: see `LONGEST`."""
    if (raw := _unconverted(dataset, keyword)) and len(raw.value or b"") > LONGEST:
        raise ValueError(keyword)


def _unconverted(dataset: Dataset, keyword: str) -> RawDataElement | None:
    """An element as the file has it; None where it is absent, or was converted when it was read."""
    element: object = dataset.get_item(keyword) if keyword in dataset else None
    return element if isinstance(element, RawDataElement) else None


def _value(dataset: Dataset, keyword: str) -> Any:
    require_short(dataset, keyword)
    return dataset.get(keyword)


def text(dataset: Dataset, keyword: str) -> str:
    """An element's value as one stripped, upper-case string; "" where it is absent or empty."""
    try:
        value = _value(dataset, keyword)
    except Exception:
        # A value that its type does not allow is converted here, and pydicom raises anything.
        return ""
    return "" if value is None else str(value).strip().upper()


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """The values of an element that may have several; empty where it is absent or empty."""
    try:
        value = _value(dataset, keyword)
    except Exception:
        return []
    several = [value] if isinstance(value, str) else list(value or [])
    return [str(one).strip().upper() for one in several[:MOST_ITEMS]]


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """The values of an element of numbers; empty where it is absent or empty.

    Raises:
        ValueError: the element holds something else than finite numbers.
    """
    try:
        value = _value(dataset, keyword)
    except Exception:
        raise ValueError(keyword) from None
    if value is None or value == "":
        return []
    if isinstance(value, bytes):
        raise ValueError(keyword)
    several = [value] if isinstance(value, int | float | str) else list(value)
    found = [float(one) for one in several[:MOST_ITEMS]]
    if not all(map(math.isfinite, found)):
        raise ValueError(keyword)
    return found


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; empty where it is absent, empty or no sequence.

    An item that cannot be read raises when it is asked.
    """
    try:
        sequence = list(_sequence(dataset, keyword))
    except Exception:
        return []
    return [item for item in sequence[:MOST_ITEMS] if isinstance(item, Dataset)]


def _sequence(dataset: Dataset, keyword: str) -> Any:
    """A sequence, parsed no further than a radiograph's may go."""
    raw = _unconverted(dataset, keyword)
    if raw is None or not raw.value or len(raw.value) <= LONGEST:
        return dataset.get(keyword) or []
    return read_sequence(
        BoundedBytes(raw.value).file,
        raw.is_implicit_VR,
        raw.is_little_endian,
        len(raw.value),
        default_encoding,
    )
