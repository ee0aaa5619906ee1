"""The exposed field of pictures made here, whose borders are known."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from localization import (
    Compute,
    Field,
    Localizer,
    ModelBundle,
    Radiograph,
    draw_overlay,
    find_field,
    to_answer,
)

Pixels = NDArray[np.uint8]


def chest(height: int = 600, width: int = 500) -> Pixels:
    """Brighter than any black border and darker than a white one, and nowhere constant."""
    rows, columns = np.mgrid[0:height, 0:width].astype(float)
    waves = np.sin(rows / height * 9) * np.cos(columns / width * 7)
    return np.asarray(130 + 60 * waves, np.uint8)


def padded(
    pixels: Pixels, top: int, bottom: int, left: int, right: int, level: int = 0
) -> tuple[Pixels, Field]:
    """A picture with borders, and the field that is to be found in it."""
    picture = cv2.copyMakeBorder(
        pixels, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(level,)
    )
    height, width = pixels.shape
    return np.asarray(picture, np.uint8), Field(left, top, width, height)


def assert_near(found: Field, true: Field, pixels: int = 1) -> None:
    assert found.x == pytest.approx(true.x, abs=pixels)
    assert found.y == pytest.approx(true.y, abs=pixels)
    assert found.x + found.width == pytest.approx(true.x + true.width, abs=pixels)
    assert found.y + found.height == pytest.approx(true.y + true.height, abs=pixels)


BORDERS = {
    "top": (301, 0, 0, 0),
    "bottom": (0, 303, 0, 0),
    "left": (0, 0, 255, 0),
    "right": (0, 0, 0, 257),
    "letter box": (150, 149, 0, 0),
    "pillar box": (0, 0, 211, 212),
    "all around": (77, 131, 99, 58),
}


@pytest.mark.parametrize("level", [0, 12, 255])
@pytest.mark.parametrize("borders", BORDERS.values(), ids=BORDERS)
def test_borders_are_found_to_the_pixel(borders: tuple[int, int, int, int], level: int) -> None:
    picture, field = padded(chest(), *borders, level=level)
    assert_near(find_field(picture), field)


@pytest.mark.parametrize("size", [(150, 120), (513, 411), (1024, 1024), (2501, 2048), (900, 3000)])
def test_a_field_is_found_at_any_size_and_shape(size: tuple[int, int]) -> None:
    height, width = size
    picture, field = padded(chest(*size), height // 4, height // 3, width // 3, width // 5)
    assert_near(find_field(picture), field)


@pytest.mark.parametrize("level", [0, 20])
def test_the_noise_of_a_film_is_border_all_the_same(level: int) -> None:
    picture, field = padded(chest(), 120, 120, 120, 120, level=level)
    noise = np.random.default_rng(0).normal(0, 7, picture.shape)
    noisy = np.clip(picture + noise, 0, 255).astype(np.uint8)
    assert_near(find_field(noisy), field)


def test_a_border_that_grows_brighter_is_border_all_the_same() -> None:
    picture, field = padded(chest(), 150, 150, 150, 150)
    slope = np.linspace(0, 14, picture.shape[1]).astype(np.uint8)
    assert_near(find_field(cv2.add(picture, np.broadcast_to(slope, picture.shape).copy())), field)


@pytest.mark.parametrize("level", [0, 255])
def test_text_and_markers_in_the_border_are_border(level: int) -> None:
    picture, field = padded(chest(), 200, 200, 200, 200, level=level)
    ink = (255 - level,)
    for line, words in enumerate(("PORTABLE AP SUPINE 01-JAN-2000", "85 kVp 2.0 mAs 180 cm")):
        cv2.putText(picture, words, (20, 60 + 50 * line), cv2.FONT_HERSHEY_SIMPLEX, 1.2, ink, 2)
    cv2.putText(picture, "L", (840, 500), cv2.FONT_HERSHEY_SIMPLEX, 2, ink, 5)
    cv2.rectangle(picture, (20, 940), (80, 980), ink, -1)
    assert_near(find_field(picture), field)


def test_a_border_within_another_is_taken_too() -> None:
    film, _ = padded(chest(), 60, 60, 60, 60, level=8)
    picture, _ = padded(film, 100, 100, 100, 100, level=255)
    assert_near(find_field(picture), Field(160, 160, 500, 600))


def whole(pixels: Pixels) -> Field:
    height, width = pixels.shape
    return Field(0, 0, width, height)


def gradient() -> Pixels:
    """From black to white: dark at a side, but without an edge of a field."""
    return np.repeat(np.linspace(0, 255, 800).astype(np.uint8)[None], 600, axis=0)


def abdomen() -> Pixels:
    """The lower half fades into an even white, as an overexposed abdomen does."""
    fade = np.clip(np.linspace(-1.5, 1.2, 600), 0, 1)[:, None]
    return (chest() * (1 - fade) + 250 * fade).astype(np.uint8)


def neck() -> Pixels:
    """Air at both sides of a neck, above shoulders: black, but not from side to side."""
    picture = chest()
    picture[:200, :180] = picture[:200, 320:] = 0
    return picture


def label() -> Pixels:
    """No radiograph at all: some text on black."""
    picture = np.zeros((600, 600), np.uint8)
    cv2.putText(picture, "NO IMAGE", (250, 300), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255,), 1)
    return picture


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(chest(), id="no border"),
        pytest.param(padded(chest(), 40, 40, 30, 30)[0], id="as training's"),
        pytest.param(np.zeros((600, 600), np.uint8), id="black"),
        pytest.param(np.full((600, 600), 255, np.uint8), id="white"),
        pytest.param(np.full((600, 600), 130, np.uint8), id="gray"),
        pytest.param(gradient(), id="gradient"),
        pytest.param(abdomen(), id="abdomen"),
        pytest.param(neck(), id="neck"),
        pytest.param(label(), id="label"),
        pytest.param(padded(chest(40, 40), 60, 60, 60, 60)[0], id="smaller than a radiograph"),
        pytest.param(chest(64, 64), id="tiny"),
        pytest.param(chest(64, 4000), id="a strip"),
    ],
)
def test_without_larger_borders_than_trainings_the_field_is_the_whole_image(
    picture: Pixels,
) -> None:
    assert find_field(picture) == whole(picture)


def test_the_sides_of_a_picture_are_treated_alike() -> None:
    picture, field = padded(chest(), 0, 300, 0, 0)
    turned = np.ascontiguousarray(np.rot90(picture))
    assert_near(find_field(turned), Field(0, 0, field.height, field.width))


@pytest.fixture(scope="module")
def localizer(tiny_bundle: Path) -> Localizer:
    return Localizer(ModelBundle.load(tiny_bundle), Compute("cpu", threads=1))


def png(pixels: Pixels) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def blob() -> Pixels:
    """A chest with one bright spot, up on the left."""
    pixels = (chest() // 2).astype(np.uint8)
    pixels[120:240, 100:200] = 255
    return pixels


def test_boxes_and_map_of_a_padded_radiograph_are_its_own_moved(localizer: Localizer) -> None:
    picture, field = padded(blob(), 210, 90, 310, 140)
    before = localizer.localize(Radiograph.read(png(blob())))
    after = localizer.localize(Radiograph.read(png(picture)))
    answer = to_answer(after, id="1")["radiograph"]
    assert answer["field"] == {"x": 310, "y": 210, "width": 500, "height": 600}
    assert (answer["width"], answer["height"]) == (950, 900)
    for original, moved in zip(before.findings, after.findings, strict=True):
        assert original.boxes
        np.testing.assert_array_equal(original.heatmap, moved.heatmap)
        assert [(b.x + field.x, b.y + field.y, b.width, b.height) for b in original.boxes] == [
            pytest.approx((b.x, b.y, b.width, b.height)) for b in moved.boxes
        ]


def test_a_radiograph_without_borders_says_that_its_field_is_all_of_it(
    localizer: Localizer,
) -> None:
    answer = to_answer(localizer.localize(Radiograph.read(png(blob()))), id="1")
    assert answer["radiograph"]["field"] == {"x": 0, "y": 0, "width": 500, "height": 600}


def test_the_overlay_heats_the_field_alone(localizer: Localizer) -> None:
    picture, field = padded(blob(), 210, 90, 310, 140)
    radiograph = Radiograph.read(png(picture))
    drawn = draw_overlay(radiograph, localizer.localize(radiograph), ["Atelectasis"])
    image = cv2.imdecode(np.frombuffer(drawn, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    coloured = np.ptp(image.astype(int), axis=2) > 40
    coloured[:40, :200] = False  # the legend
    outside = coloured.copy()
    # A box's line is two pixels wide, and may run along the field's edge.
    outside[field.y - 1 : field.y + field.height + 1, field.x - 1 : field.x + field.width + 1] = 0
    assert not outside.any()
    rows, columns = np.nonzero(coloured)
    assert rows.mean() == pytest.approx(field.y + 180, abs=40)
    assert columns.mean() == pytest.approx(field.x + 150, abs=40)
