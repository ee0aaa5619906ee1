"""Where the exposed field of a picture is found, and what is said of a radiograph by it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from localization import (
    Compute,
    Localization,
    Localizer,
    ModelBundle,
    Radiograph,
    draw_overlay,
    find_field,
)
from localization.field import Field

Pixels = NDArray[np.uint8]
Borders = tuple[int, int, int, int]
"""Pixels above, below, left and right."""

FONT = cv2.FONT_HERSHEY_SIMPLEX
RANDOM = np.random.default_rng(0)
ALL_ROUND: Borders = (150, 130, 170, 140)


def radiograph(height: int = 600, width: int = 600, seed: int = 0) -> Pixels:
    """Noise as bright and as uneven as a radiograph."""
    return np.random.default_rng(seed).integers(40, 220, (height, width), np.uint8)


def bordered(pixels: Pixels, borders: Borders, level: int = 0) -> Pixels:
    padded = cv2.copyMakeBorder(pixels, *borders, cv2.BORDER_CONSTANT, value=(level,))
    return np.asarray(padded, np.uint8)


def noisy(pixels: Pixels, deviation: float) -> Pixels:
    noise = np.random.default_rng(1).normal(0, deviation, pixels.shape)
    return np.asarray(np.clip(np.rint(pixels + noise), 0, 255), np.uint8)


def written(pixels: Pixels, *places: tuple[int, int], size: float = 0.8) -> Pixels:
    picture = pixels.copy()
    for place in places:
        cv2.putText(picture, "PORTABLE AP", place, FONT, size, (255,), 2)
    return picture


def inside(pixels: Pixels, borders: Borders) -> Field:
    top, _, left, _ = borders
    return Field(left, top, pixels.shape[1], pixels.shape[0])


def assert_found(picture: Pixels, expected: Field, within: int = 0) -> None:
    found = find_field(picture)
    for edges in (("x", "width"), ("y", "height")):
        start, length = (getattr(found, name) for name in edges)
        true_start, true_length = (getattr(expected, name) for name in edges)
        assert abs(start - true_start) <= within, found
        assert abs(start + length - true_start - true_length) <= within, found


@pytest.mark.parametrize(
    "borders",
    [(250, 0, 0, 0), (0, 250, 0, 0), (0, 0, 250, 0), (0, 0, 0, 250), (90, 0, 201, 0), ALL_ROUND],
    ids=["top", "bottom", "left", "right", "a corner", "all round"],
)
@pytest.mark.parametrize("level", [0, 30, 255], ids=["black", "film", "white"])
def test_borders_are_taken_off_at_each_side(borders: Borders, level: int) -> None:
    pixels = radiograph()
    assert_found(bordered(pixels, borders, level), inside(pixels, borders))


@pytest.mark.parametrize(("height", "width"), [(600, 800), (900, 600), (1500, 1200)])
@pytest.mark.parametrize("outer", [(2000, 2000), (1600, 2400)])
def test_portrait_and_landscape_lie_in_squares_and_in_screens(
    height: int, width: int, outer: tuple[int, int]
) -> None:
    down, across = (outer[0] - height) // 2, (outer[1] - width) // 2
    borders = (down, outer[0] - height - down, across, outer[1] - width - across)
    pixels = radiograph(height, width)
    assert_found(bordered(pixels, borders), inside(pixels, borders))


@pytest.mark.parametrize("level", [6, 25])
def test_film_between_its_noise_is_a_border(level: int) -> None:
    pixels = radiograph()
    picture = noisy(bordered(pixels, ALL_ROUND, level), 4)
    assert_found(picture, inside(pixels, ALL_ROUND), within=1)


def test_a_border_that_grows_brighter_is_a_border() -> None:
    pixels = radiograph()
    slope = np.linspace(0, 14, 910).astype(np.uint8)
    picture = cv2.add(bordered(pixels, ALL_ROUND), np.tile(slope, (880, 1)))
    assert_found(np.asarray(picture, np.uint8), inside(pixels, ALL_ROUND), within=1)


@pytest.mark.parametrize("level", [0, 255])
def test_text_and_markers_in_the_border_are_border_too(level: int) -> None:
    pixels = radiograph()
    picture = bordered(pixels, ALL_ROUND, level)
    ink = (255 - level,)
    for place in ((10, 40), (10, 80), (400, 860)):
        cv2.putText(picture, "85 kVp 2.0 mAs PORTABLE", place, FONT, 1.1, ink, 2)
    cv2.putText(picture, "L", (20, 400), FONT, 1.8, ink, 5)
    cv2.rectangle(picture, (830, 300), (880, 335), ink, -1)
    assert_found(picture, inside(pixels, ALL_ROUND), within=1)


def test_text_in_the_field_leaves_the_field_as_it_is() -> None:
    pixels = radiograph()
    picture = written(bordered(pixels, ALL_ROUND), (180, 180), (500, 700))
    assert_found(picture, inside(pixels, ALL_ROUND))


def test_a_border_within_a_border_is_taken_off_too() -> None:
    pixels = radiograph()
    bed: Borders = (60, 60, 80, 80)
    picture = bordered(bordered(pixels, ALL_ROUND), bed, 255)
    field = inside(pixels, ALL_ROUND)
    assert_found(picture, Field(field.x + bed[2], field.y + bed[0], field.width, field.height))


def test_of_a_turned_field_nothing_is_lost() -> None:
    """Borders that are not parallel to the picture's are wedges, and stay."""
    mask = np.zeros((1000, 1000), np.uint8)
    corners = cv2.boxPoints(((500, 500), (560, 520), 5))
    cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), (1,))
    rows, columns = np.nonzero(mask)
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    # Only the tips of its corners, which hold less than a tenth of a line.
    assert_found(
        radiograph(1000, 1000) * mask, Field(left, top, right - left, bottom - top), within=12
    )


def neck() -> Pixels:
    """Air at both sides of a neck, above shoulders: black, but not from side to side."""
    picture = radiograph()
    picture[:240, :200] = picture[:240, 400:] = 0
    return picture


WHOLE: dict[str, Pixels] = {
    "without borders": radiograph(),
    "darker to a side": np.tile(np.linspace(0, 255, 900).astype(np.uint8), (700, 1)),
    "darker to the top": np.tile(np.linspace(0, 255, 900).astype(np.uint8)[:, None], (1, 700)),
    "brighter to the bottom, to white": np.clip(
        np.linspace(0, 500, 900)[:, None] + RANDOM.normal(0, 9, (900, 700)), 0, 255
    ).astype(np.uint8),
    "with air above shoulders": neck(),
    "with small borders": bordered(radiograph(), (30, 30, 35, 35)),
    "all black": np.zeros((700, 700), np.uint8),
    "all white": np.full((700, 700), 255, np.uint8),
    "all gray": np.full((700, 700), 128, np.uint8),
    "black but for noise": RANDOM.integers(0, 9, (700, 700), np.uint8),
    "with nothing but text": written(np.zeros((700, 700), np.uint8), (40, 300)),
    "with a field too small for a radiograph": bordered(radiograph(60, 60), (90, 90, 90, 90)),
    "tiny": bordered(radiograph(32, 32), (16, 16, 16, 16)),
    "one pixel": np.zeros((1, 1), np.uint8),
    "a line": RANDOM.integers(0, 255, (1, 4000), np.uint8),
    "a column": RANDOM.integers(0, 255, (4000, 1), np.uint8),
}


@pytest.mark.parametrize("name", WHOLE)
def test_stays_whole(name: str) -> None:
    picture = WHOLE[name]
    assert find_field(picture) == Field.whole(picture)


@pytest.mark.parametrize("share", [0.81, 0.9, 0.99])
@pytest.mark.parametrize("side", ["top", "all round"])
def test_borders_no_larger_than_training_had_stay(share: float, side: str) -> None:
    lost = round(600 / share - 600)
    around = round((600 / share**0.5 - 600) / 2)
    borders = (lost, 0, 0, 0) if side == "top" else (around,) * 4
    picture = bordered(radiograph(), borders)
    assert find_field(picture) == Field.whole(picture)


sides = st.just(0) | st.integers(20, 500)
"""Thinner ones, of a pixel or two of the copy in which borders are looked for, may stay."""


@given(
    size=st.tuples(st.integers(150, 700), st.integers(150, 700)),
    borders=st.tuples(sides, sides, sides, sides),
    level=st.sampled_from([0, 12, 35, 240, 255]),
    noise=st.sampled_from([0, 3]),
    seed=st.integers(0, 9),
)
@settings(max_examples=150, deadline=None)
def test_the_field_is_the_radiograph_to_two_pixels_or_the_whole(
    size: tuple[int, int], borders: Borders, level: int, noise: float, seed: int
) -> None:
    pixels = radiograph(*size, seed=seed)
    picture = bordered(pixels, borders, level)
    # A white border has less noise than film: it is no film's.
    picture = noisy(picture, noise if level < 100 else noise / 3)
    found = find_field(picture)
    assert 0 <= found.x < found.x + found.width <= picture.shape[1]
    assert 0 <= found.y < found.y + found.height <= picture.shape[0]
    share = pixels.size / picture.size
    # A white border must end at once along half of its length: see docs/borders.md.
    ends = level < 100 or min(size[0] / picture.shape[0], size[1] / picture.shape[1]) > 0.55
    if share < 0.7 and ends:
        assert_found(picture, inside(pixels, borders), within=2)
    elif share > 0.85:
        assert found == Field.whole(picture)


@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(0, 255), st.integers(0, 255), st.data()
)
@settings(max_examples=150, deadline=None)
def test_a_field_lies_in_any_picture(
    height: int, width: int, level: int, spread: int, data: st.DataObject
) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    picture = random.integers(max(0, level - spread), level + 1, (height, width), np.uint8)
    top, left = data.draw(st.integers(0, height)), data.draw(st.integers(0, width))
    picture[:top], picture[:, :left] = 0, 255
    field = find_field(picture)
    assert field.of(picture).shape == (field.height, field.width)
    assert min(field.width, field.height) >= min(64, height, width)


# What a model that sees brightness says of a bright blob, by itself and within borders.


def blob() -> Pixels:
    pixels = np.full((480, 640), 90, np.uint8)  # Too bright for a black border.
    cv2.circle(pixels, (450, 130), 70, (220,), -1)
    return pixels


BLOB_BORDERS: Borders = (200, 120, 310, 90)


@pytest.fixture(scope="module")
def localizer(tiny_bundle: Path) -> Localizer:
    return Localizer(ModelBundle.load(tiny_bundle), Compute("cpu", threads=1))


def read(pixels: Pixels) -> Radiograph:
    return Radiograph.read(cv2.imencode(".png", pixels)[1].tobytes())


@pytest.fixture(scope="module")
def alone(localizer: Localizer) -> Localization:
    return localizer.localize(read(blob()))


@pytest.fixture(scope="module")
def framed() -> Radiograph:
    return read(written(bordered(blob(), BLOB_BORDERS), (10, 60)))


def test_borders_change_nothing_but_where_boxes_are(
    localizer: Localizer, alone: Localization, framed: Radiograph
) -> None:
    within = localizer.localize(framed)
    top, _, left, _ = BLOB_BORDERS
    assert within.radiograph.field == Field(left, top, 640, 480)
    assert (within.radiograph.width, within.radiograph.height) == (1040, 800)
    for before, after in zip(alone.findings, within.findings, strict=True):
        assert after.probability == before.probability
        np.testing.assert_array_equal(after.heatmap, before.heatmap)
        assert before.boxes
        shifted = [replace(box, x=box.x + left, y=box.y + top) for box in before.boxes]
        assert list(after.boxes) == shifted


def test_boxes_surround_the_blob_in_the_picture_that_was_sent(
    localizer: Localizer, framed: Radiograph
) -> None:
    box = localizer.localize(framed).findings[0].boxes[0]
    top, _, left, _ = BLOB_BORDERS
    assert box.x + box.width / 2 == pytest.approx(left + 450, abs=25)
    assert box.y + box.height / 2 == pytest.approx(top + 130, abs=25)


def test_the_overlay_has_the_heat_over_the_field_and_none_over_the_borders(
    localizer: Localizer, framed: Radiograph
) -> None:
    localization = localizer.localize(framed)
    png = draw_overlay(framed, localization, ["Atelectasis"])
    image: Any = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    scale = image.shape[1] / framed.width
    blue, green, _ = np.moveaxis(image.astype(int), 2, 0)
    rows, columns = np.nonzero(green - blue > 40)  # orange and yellow: the hottest
    top, _, left, _ = BLOB_BORDERS
    assert columns.mean() / scale == pytest.approx(left + 450, abs=25)
    assert rows.mean() / scale == pytest.approx(top + 130, abs=25)
    outside = np.ones(image.shape[:2], bool)
    outside[:40, :200] = False  # the name
    within_rows = slice(round(top * scale), round((top + 480) * scale))
    outside[within_rows, round(left * scale) : round((left + 640) * scale)] = False
    assert np.ptp(image[outside].astype(int), axis=1).max() < 5
