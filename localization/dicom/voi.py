"""Values of interest: by the file's own VOI LUT or window where it shows the picture.

A file may offer several, VOI LUTs and windows alike, as alternatives of equal standing (PS3.3
C.11.2). VOI LUTs come first, being the more particular, then windows, each in the file's order: the
first is what the acquisition chose, and what other viewers show. One that does not show the picture
is passed over.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_windowing

from localization.dicom.elements import items, numbers, text
from localization.dicom.tables import is_little_endian, read_table
from localization.gate import Doubt
from localization.levels import to_levels
from localization.value_range import ROBUST, Shown, Values, robust_levels, show_range

# A picture that has at least MANY_VALUES counts as shown when no more than MOST_EXTREME of its
# pixels are wholly black or white, and its middle 98 % spread over at least LEAST_SPREAD levels.
# A radiograph's collimated border and its markers stay far below the share.
MANY_VALUES = 64
MOST_EXTREME = 0.95
LEAST_SPREAD = 16


class Candidate(NamedTuple):
    """A VOI LUT or window of the file."""

    words: str
    levels: Callable[[Values], NDArray[np.uint8]]
    """Raises anything where the elements cannot be read, or make no levels."""


def show(dataset: Dataset | None, values: Values, counts: NDArray[np.float32]) -> Shown:
    """Show values by the first of the file's VOI LUTs and windows that shows them.

    Without any, the picture runs linearly over the range of its pixels: see `show_range`.

    Args:
        dataset: whose VOI LUTs and windows are meant for these values; None where what would have
            made such values was broken.
        values: `[65536]`, the modality value of each stored value.
        counts: `[65536]`, how many pixels that count have it.
    """
    offered = 0
    for candidate in _candidates(dataset) if dataset is not None else ():
        offered += 1
        try:
            levels = candidate.levels(values)
        except Exception:
            continue  # pydicom raises anything for elements that it cannot read.
        if _shows(levels, counts):
            return Shown(levels, candidate.words, ())
    if offered or dataset is None:
        return Shown(robust_levels(values, counts), ROBUST, (_replaced(),))
    return show_range(values, counts)


def _replaced() -> Doubt:
    return Doubt(
        "window-replaced",
        "The DICOM file's own display window or lookup table does not show its picture, and the "
        "range of its pixels was taken instead; check the picture against the radiograph.",
        evidence={"shown": ROBUST},
    )


def _candidates(dataset: Dataset) -> Iterator[Candidate]:
    tables = items(dataset, "VOILUTSequence")
    little_endian = is_little_endian(dataset)
    for index, item in enumerate(tables):
        yield Candidate(
            "VOI LUT" + _of(index, len(tables)), partial(_table_levels, item, little_endian)
        )
    yield from _windows(dataset)


def _windows(dataset: Dataset) -> Iterator[Candidate]:
    function = text(dataset, "VOILUTFunction") or "LINEAR"
    try:
        centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
        pairs = list(zip(centers, widths, strict=True))
    except ValueError:
        yield Candidate("", _no_levels)
        return
    for index, (center, width) in enumerate(pairs):
        # The function's name is not quoted from the file: a window by another one than the
        # standard's has no levels, and is not taken.
        yield Candidate(
            f"window{_of(index, len(pairs))} {center:g}/{width:g} ({function})",
            partial(_window_levels, center, width, function),
        )


def _of(index: int, count: int) -> str:
    return f" {index + 1} of {count}" if count > 1 else ""


def _no_levels(values: Values) -> NDArray[np.uint8]:
    raise ValueError("a window whose numbers cannot be read")


def _table_levels(item: Dataset, little_endian: bool, values: Values) -> NDArray[np.uint8]:
    """Values through a VOI LUT (PS3.3 C.11.2.1.1), its lowest entry black.

    The range is that of the entries, not of the bits they claim: many files write 12-bit entries
    and call them 16-bit.
    """
    table = read_table(item, little_endian)
    return to_levels(table.look_up(values), int(table.entries.min()), int(table.entries.max()))


def _window_levels(center: float, width: float, function: str, values: Values) -> NDArray[np.uint8]:
    """Values through a window by its VOI LUT Function (PS3.3 C.11.2.1.2 and .3)."""
    # pydicom spreads a window over the range of the stored bits, before or after a rescale as
    # the elements say. A data set that says 8 bits and no rescale gets levels at once.
    screen = Dataset()
    screen.PhotometricInterpretation = "MONOCHROME2"
    screen.WindowCenter, screen.WindowWidth = center, width
    screen.VOILUTFunction = function
    screen.BitsStored = 8
    screen.PixelRepresentation = 0
    with np.errstate(over="ignore"):
        levels = apply_windowing(values, screen)
    if not np.isfinite(levels).all():
        raise ValueError("a window of no finite levels")
    return to_levels(levels, 0, 255)


def _shows(levels: NDArray[np.uint8], counts: NDArray[np.float32]) -> bool:
    """Whether levels tell a picture's values apart."""
    used = counts > 0
    distinct = np.count_nonzero(used)
    if distinct < MANY_VALUES:
        return bool(distinct < 2) or len(np.unique(levels[used])) > 1
    shares = np.bincount(levels, weights=counts, minlength=256) / counts.sum(dtype=np.float64)
    dark, bright = np.searchsorted(np.cumsum(shares), (0.01, 0.99))
    return bool(shares[0] + shares[255] <= MOST_EXTREME) and bool(bright - dark >= LEAST_SPREAD)
