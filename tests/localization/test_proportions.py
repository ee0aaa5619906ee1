"""What is far wider or taller than any film is doubtful, borders not counted."""

import cv2
import numpy as np
import pytest

from localization import Field, Radiograph
from localization.proportions import NARROWEST, WIDEST, proportion_doubts


def picture(width: int, height: int, border: int = 0) -> bytes:
    """A PNG of noise, between black borders above and below."""
    gray = np.random.default_rng(0).integers(60, 200, (height, width), np.uint8)
    return cv2.imencode(".png", np.pad(gray, ((border, border), (0, 0))))[1].tobytes()


def codes(data: bytes, **options: str) -> list[str]:
    return [doubt.code for doubt in Radiograph.read(data, **options).doubts]


@pytest.mark.parametrize(("width", "height"), [(2000, 300), (100, 400)])
def test_a_picture_of_no_films_shape_is_doubtful(width: int, height: int) -> None:
    assert codes(picture(width, height)) == ["aspect-ratio"]
    assert codes(picture(width, height), policy="flag") == ["aspect-ratio"]
    assert codes(picture(width, height), policy="off") == []


@pytest.mark.parametrize(("width", "height"), [(300, 300), (400, 300), (300, 500)])
def test_a_picture_of_a_films_shape_is_not(width: int, height: int) -> None:
    assert codes(picture(width, height)) == []


def test_the_field_counts_and_not_the_borders() -> None:
    assert codes(picture(300, 300, border=200)) == []
    assert codes(picture(700, 300, border=200)) == ["aspect-ratio"]


def test_the_limits_are_those_of_films() -> None:
    def doubts(shape: float) -> int:
        return len(proportion_doubts(Field(0, 0, 100, 100), shape))

    assert [doubts(shape) for shape in (NARROWEST, 1, WIDEST)] == [0, 0, 0]
    assert [doubts(shape) for shape in (NARROWEST - 0.01, WIDEST + 0.01)] == [1, 1]
