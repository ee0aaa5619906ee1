"""The picture that a person is shown."""

import numpy as np
import pytest

from localization import to_picture


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((3000, 1500), (1024, 512)), ((1000, 4000), (256, 1024)), ((300, 200), (300, 200))],
)
def test_the_longer_side_is_at_most_1024_pixels(
    shape: tuple[int, int], shown: tuple[int, int]
) -> None:
    assert to_picture(np.zeros(shape, np.uint8)).shape == shown


def test_a_thin_radiograph_keeps_a_pixel() -> None:
    assert to_picture(np.full((5000, 1), 7, np.uint8)).shape == (1024, 1)


def test_it_is_averaged_not_sampled() -> None:
    stripes = np.tile(np.array([0, 200], np.uint8), (2048, 1024))
    assert np.all(to_picture(stripes) == 100)
