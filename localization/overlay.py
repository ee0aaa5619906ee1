"""What a person looks at: heat map and boxes drawn over the radiograph."""

from collections.abc import Sequence
from itertools import cycle

import cv2
import numpy as np
from numpy.typing import NDArray

from localization.field import Field
from localization.interpretation import Finding, Localization
from localization.picture import LONGEST_SIDE, to_picture
from localization.radiograph import Radiograph

COLOURS = ((255, 249, 125), (80, 220, 80), (255, 160, 60), (80, 80, 255))
"""BGR of the boxes of the first, second, ... finding that is drawn."""

FONT = cv2.FONT_HERSHEY_SIMPLEX

SHORTEST_SIDE = 256
"""Pixels of a picture's longer side, at least: on fewer, lines would hide what they surround."""

OPACITY = 0.7
"""Of the heat where it is hottest."""

FULL_FROM = 0.6
"""From this value on the heat is as opaque as it gets; below, more and more of the radiograph
shines through. As on the service's page, so that both draw the same picture."""


def draw_overlay(
    radiograph: Radiograph, localization: Localization, diseases: Sequence[str] | None = None
) -> bytes:
    """Draw findings over their radiograph.

    The heat, over the field, is that of the most probable finding drawn; the boxes are those of
    all of them.

    Args:
        radiograph: the one that was localized.
        localization: its result.
        diseases: what to draw; by default the most probable finding that reaches its operating
            point, or the most probable one where none does.

    Returns:
        A PNG, its longer side `SHORTEST_SIDE` to `picture.LONGEST_SIDE` pixels.
    """
    _, encoded = cv2.imencode(".png", overlay_pixels(radiograph, localization, diseases))
    return encoded.tobytes()


def overlay_pixels(
    radiograph: Radiograph,
    localization: Localization,
    diseases: Sequence[str] | None = None,
    longest_side: int = LONGEST_SIDE,
    *,
    named: bool = True,
) -> NDArray[np.uint8]:
    """The same picture as levels, uint8 `[height, width, 3]`, BGR.

    Args:
        radiograph: the one that was localized.
        localization: its result.
        diseases: what to draw, see `draw_overlay`; the radiograph as it is where there are none.
        longest_side: pixels of the longer side, at most.
        named: whether the names of the findings stand in the picture.
    """
    drawn = _findings(localization, diseases)
    gray = _enlarged(to_picture(radiograph.pixels, longest_side))
    scale = max(gray.shape) / max(radiograph.width, radiograph.height)
    canvas = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    if drawn:
        _blend(canvas, drawn[0].heatmap, radiograph.field, scale)
    for line, (finding, colour) in enumerate(zip(drawn, cycle(COLOURS), strict=False)):
        _draw_boxes(canvas, finding, scale, colour)
        if named:
            _draw_name(canvas, finding, line, colour)
    return canvas


def _enlarged(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = SHORTEST_SIDE / max(gray.shape)
    if scale <= 1:
        return gray
    height, width = gray.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _findings(localization: Localization, diseases: Sequence[str] | None) -> list[Finding]:
    if diseases is not None:
        return [finding for finding in localization.findings if finding.disease in diseases]
    positive = [finding for finding in localization.findings if finding.positive]
    return (positive or list(localization.findings))[:1]


def _blend(
    canvas: NDArray[np.uint8], heatmap: NDArray[np.float32], field: Field, scale: float
) -> None:
    """Lay a heat map over the field, in [0, 1] as it is: colours compare between radiographs."""
    top, bottom = round(field.y * scale), round((field.y + field.height) * scale)
    left, right = round(field.x * scale), round((field.x + field.width) * scale)
    part = canvas[top:bottom, left:right]
    height, width = part.shape[:2]
    heat = cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    # Perceptually uniform, told apart by every kind of eye, and nowhere gray like the radiograph.
    coloured = cv2.applyColorMap((heat * 255).round().astype(np.uint8), cv2.COLORMAP_PLASMA)
    weight = (OPACITY * np.minimum(1, heat / FULL_FROM) ** 1.5)[..., None]
    part[:] = (part * (1 - weight) + coloured * weight).round().astype(np.uint8)


def _draw_boxes(
    canvas: NDArray[np.uint8], finding: Finding, scale: float, colour: tuple[int, int, int]
) -> None:
    for box in finding.boxes:
        start = (round(box.x * scale), round(box.y * scale))
        end = (round((box.x + box.width) * scale) - 1, round((box.y + box.height) * scale) - 1)
        # A dark line under a bright one is seen on any ground.
        cv2.rectangle(canvas, start, end, (0, 0, 0), 5)
        cv2.rectangle(canvas, start, end, colour, 2)


def _draw_name(
    canvas: NDArray[np.uint8], finding: Finding, line: int, colour: tuple[int, int, int]
) -> None:
    text = f"{finding.disease} {finding.probability:.2f}"
    (width, height), below = cv2.getTextSize(text, FONT, 0.6, 1)
    top = 6 + line * (height + below + 8)
    cv2.rectangle(canvas, (6, top), (14 + width, top + height + below + 4), (0, 0, 0), -1)
    cv2.putText(canvas, text, (10, top + height + 2), FONT, 0.6, colour, 1, cv2.LINE_AA)
