"""Elements asked for with patience: what is absent, empty or not of its type is no error here."""

import math

from pydicom import Dataset

MOST_ITEMS = 16
"""Of a sequence or of several values, no more are looked at: a file may hold a million."""


def text(dataset: Dataset, keyword: str) -> str:
    """An element's value as one stripped, upper-case string; "" where it is absent or empty."""
    try:
        value = dataset.get(keyword)
    except Exception:
        # A value that its type does not allow is converted here, and pydicom raises anything.
        return ""
    return "" if value is None else str(value).strip().upper()


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """The values of an element that may have several; empty where it is absent or empty."""
    try:
        value = dataset.get(keyword)
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
        value = dataset.get(keyword)
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
        sequence = list(dataset.get(keyword) or [])
    except Exception:
        return []
    return [item for item in sequence[:MOST_ITEMS] if isinstance(item, Dataset)]
