"""Values of any range as the 256 levels that a person sees."""

import numpy as np
from numpy.typing import NDArray


def to_levels(
    values: NDArray[np.integer | np.floating], black: float, white: float
) -> NDArray[np.uint8]:
    """Map values linearly to the levels 0 (at `black` and below) to 255 (at `white` and above).

    Where `black` is `white` there is nothing to see, and every level is 0.
    """
    if black == white:
        return np.zeros(values.shape, np.uint8)
    levels = (values.astype(np.float64) - black) * (255.0 / (white - black))
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
