"""The lookup tables of a data set: items of Modality LUT Sequence and VOI LUT Sequence."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset


class Table(NamedTuple):
    """A table from values to other values (PS3.3 C.11.1.1 and C.11.2.1.1)."""

    first: int
    """The value that the first entry stands for."""
    entries: NDArray[np.uint16]

    def look_up(self, values: NDArray[np.integer | np.floating]) -> NDArray[np.uint16]:
        """Entries for values; those below the first take the first entry, those above the last."""
        first = self.first
        if first >= 2**15 and values.min() < 0:
            first -= 2**16  # A signed number that the file was written to call unsigned.
        index = np.clip(np.rint(values) - first, 0, len(self.entries) - 1)
        found: NDArray[np.uint16] = self.entries[index.astype(np.int64)]
        return found


def read_table(item: Dataset, little_endian: bool) -> Table:
    """Read a table. How deep its entries say they are is not believed, and does not matter here.

    Args:
        item: with LUT Descriptor and LUT Data.
        little_endian: the byte order of the file.

    Raises:
        ValueError: the data is not of the length that the descriptor gives.
        Exception: whatever pydicom raises for elements that it cannot read.
    """
    count, first, _ = map(int, item.LUTDescriptor)
    count = count or 2**16
    entries = _entries(item.LUTData, count, "<u2" if little_endian else ">u2")
    if entries.shape != (count,):
        raise ValueError("a descriptor that does not fit its data")
    return Table(first, entries)


def is_little_endian(dataset: Dataset) -> bool:
    """The byte order of the file that a data set was read from."""
    _, little_endian = dataset.original_encoding
    return little_endian is not False


def _entries(data: Any, count: int, words: str) -> NDArray[np.uint16]:
    if isinstance(data, int):
        data = [data]
    if not isinstance(data, bytes):
        return np.array([int(one) & 0xFFFF for one in data], np.uint16)
    if count <= len(data) <= count + 1:
        # Entries of 8 bits, and a byte more where that makes the length even.
        return np.frombuffer(data[:count], np.uint8).astype(np.uint16)
    return np.frombuffer(data, words).astype(np.uint16)
