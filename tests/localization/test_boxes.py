import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from localization import find_boxes
from localization.boxes import WORKING_SIDE, enlarge

ROWS, COLUMNS = 16, 16


def heatmap_with(*blobs: tuple[int, int, int, int, float]) -> np.ndarray:
    """A map of zeros with rectangles of cells: first row, first column, rows, columns, value."""
    heatmap = np.zeros((ROWS, COLUMNS), np.float32)
    for row, column, rows, columns, value in blobs:
        heatmap[row : row + rows, column : column + columns] = value
    return heatmap


@pytest.mark.parametrize(("width", "height"), [(1000, 1000), (1600, 800), (500, 2000)])
def test_a_box_lies_where_the_heat_is_on_a_wide_and_on_a_tall_radiograph(
    width: int, height: int
) -> None:
    (box,) = find_boxes(heatmap_with((4, 8, 4, 4, 0.9)), width, height, [0.5])
    assert box.x == pytest.approx(width * 8 / COLUMNS, abs=width / 100)
    assert box.y == pytest.approx(height * 4 / ROWS, abs=height / 100)
    assert box.width == pytest.approx(width * 4 / COLUMNS, abs=width / 50)
    assert box.height == pytest.approx(height * 4 / ROWS, abs=height / 50)
    assert box.score == pytest.approx(0.9)


def test_each_connected_region_gets_a_box_and_the_best_comes_first() -> None:
    heatmap = heatmap_with((1, 1, 3, 3, 0.6), (10, 10, 3, 3, 0.8))
    boxes = find_boxes(heatmap, 160, 160, [0.5])
    assert [round(box.score, 2) for box in boxes] == [0.8, 0.6]
    assert boxes[0].x > 80
    assert boxes[1].x < 80


def test_the_threshold_is_a_fraction_of_the_maps_own_range() -> None:
    heatmap = heatmap_with((2, 2, 4, 4, 0.2), (10, 10, 4, 4, 0.1))
    faint = find_boxes(0.1 * heatmap + 0.5, 160, 160, [0.6])
    strong = find_boxes(heatmap, 160, 160, [0.6])
    assert [(b.x, b.y, b.width, b.height) for b in faint] == [
        (b.x, b.y, b.width, b.height) for b in strong
    ]
    assert len(strong) == 1


def test_each_threshold_draws_its_own_boxes_and_none_twice() -> None:
    peaked = heatmap_with((4, 4, 8, 8, 0.4), (6, 6, 2, 2, 1.0))
    wide, narrow = sorted(find_boxes(peaked, 160, 160, [0.2, 0.8]), key=lambda b: -b.width)
    assert wide.width > 70
    assert narrow.width < 40
    sharp = find_boxes(heatmap_with((4, 4, 2, 2, 1.0)), 160, 160, [0.5, 0.5])
    assert len(sharp) == 1


def test_a_flat_map_shows_nothing() -> None:
    assert find_boxes(np.full((8, 8), 0.7, np.float32), 100, 100, [0.2, 0.7]) == ()


def test_a_later_step_has_boxes_of_its_own() -> None:
    first, second = heatmap_with((2, 2, 3, 3, 1.0)), heatmap_with((10, 10, 3, 3, 0.4))
    steps = np.stack([first, second, np.zeros_like(first)])
    boxes = find_boxes(np.maximum(first, second), 160, 160, [0.7], steps)
    assert [(box.step, round(box.score, 1)) for box in boxes] == [(0, 1.0), (1, 0.4)]
    assert boxes[1].x > 80


def test_a_box_of_the_fused_map_is_of_the_step_that_added_it() -> None:
    first, second = heatmap_with((2, 2, 3, 3, 1.0)), heatmap_with((10, 10, 3, 3, 0.9))
    boxes = find_boxes(np.maximum(first, second), 160, 160, [0.5], np.stack([first, second]))
    assert [box.step for box in boxes] == [0, 1]


def test_a_step_that_found_next_to_nothing_has_no_box() -> None:
    first, second = heatmap_with((2, 2, 3, 3, 1.0)), heatmap_with((10, 10, 3, 3, 0.1))
    boxes = find_boxes(np.maximum(first, second), 160, 160, [0.7], np.stack([first, second]))
    assert [box.step for box in boxes] == [0]


@given(
    heatmap=arrays(np.float32, (6, 6), elements=st.integers(0, 8).map(float)),
    threshold=st.floats(0.05, 0.95),
)
def test_boxes_are_those_of_another_library(heatmap: np.ndarray, threshold: float) -> None:
    """SciPy labels the same regions, of which corners and peaks follow."""
    fine = enlarge(heatmap)
    low, high = float(fine.min()), float(fine.max())
    expected = []
    if high > low:
        labels, count = ndimage.label(fine >= low + threshold * (high - low))
        peaks = ndimage.maximum(fine, labels, range(1, count + 1))
        for (rows, columns), peak in zip(ndimage.find_objects(labels), peaks, strict=True):
            size = columns.stop - columns.start, rows.stop - rows.start
            expected.append((columns.start, rows.start, *size, float(peak)))
    boxes = find_boxes(heatmap, WORKING_SIDE, WORKING_SIDE, [threshold])
    assert {(b.x, b.y, b.width, b.height, b.score) for b in boxes} == set(expected)
