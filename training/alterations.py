"""What may stand around and over a radiograph, added to it here: borders, text, markers, crops."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

FONT = cv2.FONT_HERSHEY_SIMPLEX
# Invented, and of the length and kind that consoles burn in.
LINES = ("PORTABLE AP SUPINE", "01-JAN-2000 12:34", "85 kVp 2.0 mAs")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Altered:
    """A radiograph as it might be sent instead."""

    pixels: Pixels
    x: float = 0
    """Where the original's left edge is in it, in pixels; negative where it was cut."""
    y: float = 0


Alteration = Callable[[Pixels, np.random.Generator], Altered]


def padded(
    top: float,
    bottom: float,
    left: float,
    right: float,
    *,
    level: int = 0,
    noise: float = 0,
    text: bool = False,
) -> Alteration:
    """Add borders.

    Args:
        top, bottom, left, right: as shares of the radiograph's height and width.
        level: of the borders, in [0, 255].
        noise: its standard deviation in levels, all over the picture.
        text: whether lines of text and a marker stand in the borders.
    """

    def pad(pixels: Pixels, random: np.random.Generator) -> Altered:
        height, width = pixels.shape
        above, below = round(top * height), round(bottom * height)
        before, after = round(left * width), round(right * width)
        picture = cv2.copyMakeBorder(
            pixels, above, below, before, after, cv2.BORDER_CONSTANT, value=(level,)
        )
        if noise:
            picture = _noisy(picture, noise, random)
        if text:
            _write(picture, 4, 4, height / 40)
            _mark(picture, picture.shape[1] - height // 12, picture.shape[0] - 6, height / 14)
        return Altered(np.asarray(picture, np.uint8), before, above)

    return pad


def untouched(pixels: Pixels, random: np.random.Generator) -> Altered:
    """The radiograph itself, to compare the others with."""
    return Altered(pixels)


def annotated(pixels: Pixels, random: np.random.Generator) -> Altered:
    """Text in a corner of the field and a marker at a shoulder."""
    picture = pixels.copy()
    height, width = picture.shape
    _write(picture, width // 50, height // 50, height / 40)
    _mark(picture, width - height // 8, height // 6, height / 14)
    return Altered(picture)


def cropped(share: float) -> Alteration:
    """Cut a share of each side away."""

    def crop(pixels: Pixels, random: np.random.Generator) -> Altered:
        down, across = (round(share * length) for length in pixels.shape)
        cut = pixels[down : pixels.shape[0] - down, across : pixels.shape[1] - across]
        return Altered(cut, -across, -down)

    return crop


ALTERATIONS: dict[str, Alteration] = {
    "nothing": untouched,
    "black, 10 % on each side": padded(0.1, 0.1, 0.1, 0.1),
    "black, 20 % on each side": padded(0.2, 0.2, 0.2, 0.2),
    "black, 40 % on each side": padded(0.4, 0.4, 0.4, 0.4),
    "black, 40 % on the left": padded(0, 0, 0.4, 0),
    "letter box, to 3 : 4": padded(1 / 6, 1 / 6, 0, 0),
    "pillar box, to 16 : 9": padded(0, 0, 7 / 18, 7 / 18),
    "white, 20 % on each side": padded(0.2, 0.2, 0.2, 0.2, level=255),
    "film's noise alone": padded(0, 0, 0, 0, noise=6),
    "film, 20 %, noise": padded(0.2, 0.2, 0.2, 0.2, level=14, noise=6),
    "film, 20 %, noise, text outside": padded(0.2, 0.2, 0.2, 0.2, level=14, noise=6, text=True),
    "text and marker inside": annotated,
    "cropped, 5 % of each side": cropped(0.05),
}


def _noisy(picture: NDArray[np.generic], deviation: float, random: np.random.Generator) -> Pixels:
    noise = random.normal(0, deviation, picture.shape)
    return np.asarray(np.clip(np.rint(picture + noise), 0, 255), np.uint8)


def _write(picture: NDArray[np.generic], x: int, y: int, size: float) -> None:
    """Lines of text from a place down, in white; size is that of a letter in pixels."""
    for line, words in enumerate(LINES):
        place = (x, round(y + size * (1 + 1.5 * line)))
        cv2.putText(picture, words, place, FONT, size / 22, (255,), 1, cv2.LINE_AA)


def _mark(picture: NDArray[np.generic], x: int, y: int, size: float) -> None:
    """The marker of the patient's left, standing on a place."""
    cv2.putText(picture, "L", (x, y), FONT, size / 22, (255,), 3, cv2.LINE_AA)
