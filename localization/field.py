"""The exposed field: the part of a picture that is radiograph, inside borders that are not.

Collimators, film scanners and letter boxes leave borders of one level, in which text and markers
may stand. What a model learned from had borders too, so only larger ones are taken away.
"""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from localization.refusal import SMALLEST_SIDE

# All constants were chosen on ChestX-ray14's train_val list; docs/borders.md has what they do.
LARGEST_SEEN = 0.8
"""A field that covers at least this share of the picture is left alone: borders like that were
seen in training. 1.1 % of the train_val radiographs have larger ones; and so has a square one
in a letter box of 3 : 4, whose findings suffer from it."""

COPY_SIDE = 256
"""Borders are looked for in a copy of at most this side."""

BLACK, BLACK_SPREAD = 40, 16
"""A black border is at most this bright, its pixels within so many levels: film has noise."""
WHITE, WHITE_SPREAD = 225, 8
"""A white one is at least this bright. It is smoother, and ends at once (`WHITE_STEP`), which
tells it from an overexposed abdomen."""
WHITE_STEP, WHITE_STEP_LINES = 24, 3
"""By so many levels half of a line differs from a white border, within so many lines."""

CLEAR = 0.9
"""The share of a border's line that has the border's level."""
TALLEST_TEXT = 0.06
"""Of the copy's side: so many other lines between a border's are text; more are the field."""


@dataclass(frozen=True, slots=True)
class Field:
    """A rectangle of whole pixels of the image that was sent, origin top left."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def whole(cls, pixels: NDArray[np.uint8]) -> Self:
        """All of an image `[height, width]`."""
        height, width = pixels.shape
        return cls(0, 0, width, height)

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What an image `[height, width]` shows in it, uint8 `[self.height, self.width]`."""
        return pixels[self.y : self.y + self.height, self.x : self.x + self.width]


_Edges = tuple[int, int, int, int]
"""Top, bottom, left, right; bottom and right exclusive."""


def find_field(pixels: NDArray[np.uint8]) -> Field:
    """Find the exposed field of a picture.

    Args:
        pixels: uint8 `[height, width]`, as displayed.

    Returns:
        The field, to about a pixel, except that a border below 1 % of a side may stay. The whole
        image where its borders are no larger than those of the training radiographs, or where
        nothing as large as a radiograph lies within them.
    """
    whole = Field.whole(pixels)
    copy, scale = _small_copy(pixels)
    edges = _trim(copy)
    if edges is None or _area(edges) >= LARGEST_SEEN * copy.size:
        return whole
    top, bottom, left, right = _refine(pixels, edges, copy, scale)
    if min(bottom - top, right - left) < SMALLEST_SIDE:
        return whole
    return Field(left, top, right - left, bottom - top)


def _small_copy(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """A copy of at most `COPY_SIDE`, and the pixels of a picture's side that are one of its own.

    Halved again and again, which OpenCV does many times faster than any other area average. Up
    to a copy's pixel of the picture is lost at the right and the bottom.
    """
    scale = 1
    while max(pixels.shape) > COPY_SIDE and min(pixels.shape) > 1:
        height, width = (length // 2 for length in pixels.shape)
        even = pixels[: 2 * height, : 2 * width]
        resized = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
        pixels, scale = np.asarray(resized, np.uint8), 2 * scale
    return pixels, scale


def _trim(copy: NDArray[np.uint8]) -> _Edges | None:
    """Take borders off until none is left; None where nothing is left.

    More than once, because one may lie within another: a collimated film on a scanner's bed.
    """
    top, bottom, left, right = 0, copy.shape[0], 0, copy.shape[1]
    while True:
        before = (top, bottom, left, right)
        top += _border(copy[top:bottom, left:right])
        bottom -= _border(copy[top:bottom, left:right][::-1])
        left += _border(copy[top:bottom, left:right].T)
        right -= _border(copy[top:bottom, left:right].T[::-1])
        if top >= bottom or left >= right:
            return None
        if before == (top, bottom, left, right):
            return before


def _border(lines: NDArray[np.uint8]) -> int:
    """How many of a picture's first lines `[lines, pixels]` are border."""
    if not lines.size:
        return 0
    # A copy's line may show the end of one border and the start of the next.
    for first in range(min(2, len(lines))):
        count = _of_one_level(lines[first:])
        if count:
            return first + count
    return 0


def _of_one_level(lines: NDArray[np.uint8]) -> int:
    """How many of the first lines are border, all of one level."""
    level = int(np.sort(lines[0])[lines.shape[1] // 2])
    if BLACK < level < WHITE:
        return 0
    white = level >= WHITE
    spread = WHITE_SPREAD if white else BLACK_SPREAD
    same = cv2.inRange(lines, np.array(level - spread), np.array(level + spread))
    count = _leading(cv2.reduce(same, 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[:, 0] / 255)
    return 0 if white and not _ends_at_once(lines, level, count) else count


def _leading(shares: NDArray[np.floating]) -> int:
    """How many lines come before the field, by the share of each that has the border's level."""
    tallest = TALLEST_TEXT * len(shares)
    count = 0
    for line, share in enumerate(shares.tolist(), start=1):
        if share >= CLEAR:
            count = line
        elif line - count > tallest:
            break
    return count


def _ends_at_once(lines: NDArray[np.uint8], level: int, count: int) -> bool:
    """Whether the lines after a white border are darker at once."""
    inner = lines[count + WHITE_STEP_LINES - 1 : count + WHITE_STEP_LINES]
    return bool(inner.size and level - np.median(inner) >= WHITE_STEP)


def _area(edges: _Edges) -> int:
    top, bottom, left, right = edges
    return (bottom - top) * (right - left)


def _refine(
    pixels: NDArray[np.uint8], edges: _Edges, copy: NDArray[np.uint8], scale: int
) -> _Edges:
    """Edges of the copy in the picture's own pixels, each where the levels change most."""
    height, width = pixels.shape
    top, bottom, left, right = (edge * scale for edge in edges)
    # An edge that is the copy's own is the picture's own, whatever was lost there.
    bottom = height if edges[1] == copy.shape[0] else bottom
    right = width if edges[3] == copy.shape[1] else right
    rows, columns = pixels[:, left:right], pixels[top:bottom].T
    return (
        _sharpest(rows, top, scale),
        _sharpest(rows, bottom, scale),
        _sharpest(columns, left, scale),
        _sharpest(columns, right, scale),
    )


def _sharpest(lines: NDArray[np.uint8], edge: int, reach: int) -> int:
    """The place within reach of an edge before which lines differ most from those after it."""
    if reach == 1 or edge in (0, len(lines)):
        return edge
    start = max(0, edge - reach - 1)
    levels = lines[start : edge + reach + 1].mean(axis=1)
    return start + int(np.argmax(np.abs(np.diff(levels)))) + 1
