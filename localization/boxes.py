"""Boxes from heat maps, by the protocol of Wang et al., CVPR 2017 (section 5.2).

A heat map is stretched to the range [0, 1], thresholded at each given fraction of it on its own,
and one box is drawn around each connected region. Their fractions are 60/255 and 180/255.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

PUBLISHED_THRESHOLDS = (60 / 255, 180 / 255)

_Corners = tuple[int, int, int, int]
"""x0, y0, x1, y1 in cells of the enlarged map, the last two exclusive."""
_Place = tuple[int, int]
"""Row, column in it."""

WORKING_SIDE = 128
"""Heat maps are enlarged to this side first: a cell's edge is no edge of a disease."""

FAINTEST = 0.3
"""A later step's box is at least this share as hot as the fused map's hottest point: a step that
found next to nothing has a hottest point too."""


@dataclass(frozen=True, slots=True)
class Box:
    """A region of a radiograph, in pixels of the image that was sent, origin top left."""

    x: float
    y: float
    width: float
    height: float
    score: float
    """The heat map's peak in the region, in [0, 1]; comparable between radiographs."""
    step: int = 0
    """The look that found it: 0 is the radiograph as it is, 1 the first with a region hidden."""


def enlarge(heatmap: NDArray[np.float32], side: int = WORKING_SIDE) -> NDArray[np.float32]:
    """Bring a heat map `[rows, columns]` to `[side, side]` by linear interpolation."""
    return np.asarray(cv2.resize(heatmap, (side, side), interpolation=cv2.INTER_LINEAR))


def find_boxes(
    heatmap: NDArray[np.float32],
    width: float,
    height: float,
    thresholds: Sequence[float],
    step_heatmaps: NDArray[np.float32] | None = None,
    origin: tuple[float, float] = (0, 0),
) -> tuple[Box, ...]:
    """Boxes around what a heat map shows, best score first, smaller before larger.

    Args:
        heatmap: float32 `[rows, columns]` over the radiograph's field, all mining steps fused.
        width: of the field, in pixels.
        height: of the field, in pixels.
        thresholds: fractions of a map's range, each in (0, 1).
        step_heatmaps: float32 `[steps, rows, columns]`, what each step added. A step after the
            first shows what is too weak beside the first one's find to stand out of the fused
            map: it has boxes of its own, where they are not next to nothing (`FAINTEST`).
        origin: x, y of the field in the radiograph, in pixels.

    Returns:
        Boxes in pixels of the radiograph; none for a flat map, which shows nothing.
    """
    steps = [] if step_heatmaps is None else list(step_heatmaps)
    across, down = width / WORKING_SIDE, height / WORKING_SIDE
    left, top = origin
    faintest = FAINTEST * float(heatmap.max())
    boxes: dict[_Corners, Box] = {}
    for later, shown in enumerate([heatmap, *steps[1:]]):
        if later and shown.max() < faintest:
            continue
        for region, peak, score in _find(shown, thresholds):
            if later and score < faintest:
                continue
            x0, y0, x1, y1 = region
            size = (x1 - x0) * across, (y1 - y0) * down
            step = later or _step(steps, peak)
            boxes.setdefault(region, Box(left + x0 * across, top + y0 * down, *size, score, step))
    return tuple(sorted(boxes.values(), key=lambda box: (-box.score, box.width * box.height)))


def _find(
    heatmap: NDArray[np.float32], thresholds: Sequence[float]
) -> list[tuple[_Corners, _Place, float]]:
    """The regions above each fraction of a map's range, with place and height of their peaks."""
    fine = enlarge(heatmap)
    low, high = float(fine.min()), float(fine.max())
    if not high > low:
        return []
    return [
        (region, peak, float(fine[peak]))
        for threshold in thresholds
        for region, peak in _regions(fine, low + threshold * (high - low))
    ]


def _step(steps: list[NDArray[np.float32]], peak: _Place) -> int:
    """The step that added most where the fused map has a peak."""
    if not steps:
        return 0
    rows, columns = steps[0].shape
    row, column = peak[0] * rows // WORKING_SIDE, peak[1] * columns // WORKING_SIDE
    return max(range(len(steps)), key=lambda step: steps[step][row, column])


def _regions(heatmap: NDArray[np.float32], threshold: float) -> list[tuple[_Corners, _Place]]:
    """Each region above a threshold, connected by its cells' edges, and where it is hottest."""
    above = (heatmap >= threshold).view(np.uint8)
    # Most of a map lies below: what lies above is all that is looked at from here on.
    left, top, width, height = cv2.boundingRect(above)
    window = slice(top, top + height), slice(left, left + width)
    shown = heatmap[window]
    count, labels = cv2.connectedComponents(above[window], connectivity=4)
    found: list[tuple[_Corners, _Place]] = []
    for region in range(1, count):  # The first one is of what lies below.
        inside = np.equal(labels, region).view(np.uint8)
        x, y, across, down = cv2.boundingRect(inside)
        column, row = cv2.minMaxLoc(shown, inside)[3]
        corners = left + x, top + y, left + x + across, top + y + down
        found.append((corners, (top + row, left + column)))
    return found
