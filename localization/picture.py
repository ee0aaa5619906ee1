"""The picture of a radiograph that a person is shown: gray, no larger than a screen needs."""

import cv2
import numpy as np
from numpy.typing import NDArray

LONGEST_SIDE = 1024
"""Pixels."""


def to_picture(pixels: NDArray[np.uint8], longest_side: int = LONGEST_SIDE) -> NDArray[np.uint8]:
    """Shrink a radiograph until its longer side is at most so long; a smaller one stays.

    Args:
        pixels: uint8 `[height, width]`.
        longest_side: in pixels.

    Returns:
        uint8 `[height, width]`, of the same proportions.
    """
    height, width = pixels.shape
    scale = min(1.0, longest_side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
