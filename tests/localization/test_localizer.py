from pathlib import Path

import cv2
import numpy as np
import pytest

from localization import (
    DISEASES,
    Compute,
    Localization,
    Localizer,
    ModelBundle,
    ProviderUnavailable,
    Radiograph,
    draw_overlay,
    to_answer,
)
from localization.interpretation import BoxChoice


@pytest.fixture(scope="module")
def localizer(tiny_bundle: Path) -> Localizer:
    return Localizer(ModelBundle.load(tiny_bundle), Compute("cpu", threads=1))


def bright_square(width: int, height: int, x: float, y: float) -> Radiograph:
    """Black, with a white square of a quarter of each side, centred at a fraction of each side."""
    pixels = np.zeros((height, width), np.uint8)
    left, top = int((x - 0.125) * width), int((y - 0.125) * height)
    pixels[top : top + height // 4, left : left + width // 4] = 255
    return Radiograph(pixels, "PNG")


@pytest.mark.parametrize(("width", "height"), [(400, 400), (900, 300), (300, 900)])
def test_boxes_are_in_the_pixels_of_the_radiograph(
    localizer: Localizer, width: int, height: int
) -> None:
    finding = localizer.localize(bright_square(width, height, 0.75, 0.25)).findings[0]
    box = finding.boxes[0]
    assert box.x + box.width / 2 == pytest.approx(0.75 * width, abs=0.05 * width)
    assert box.y + box.height / 2 == pytest.approx(0.25 * height, abs=0.05 * height)


def test_a_batch_of_any_sizes_gives_what_each_gives_alone(localizer: Localizer) -> None:
    radiographs = [bright_square(400, 300, 0.3, 0.6), bright_square(120, 500, 0.7, 0.2)]
    for together, radiograph in zip(
        localizer.localize_batch(radiographs), radiographs, strict=True
    ):
        alone = localizer.localize(radiograph)
        assert to_answer(together, id="1") == to_answer(alone, id="1")


def test_findings_come_most_probable_first_with_their_operating_points(
    localizer: Localizer,
) -> None:
    findings = localizer.localize(Radiograph(np.full((100, 100), 160, np.uint8), "PNG")).findings
    # The tiny model gives 0.627 / 1, 0.627 / 2, ... in the diseases' order; 0.2 is positive.
    assert [finding.disease for finding in findings] == list(DISEASES)
    assert [finding.positive for finding in findings] == [True] * 3 + [False] * 11
    assert findings[1].probability == pytest.approx(160 / 255 / 2, abs=1e-3)


def test_cuda_without_a_gpu_runtime_is_refused_not_replaced(tiny_bundle: Path) -> None:
    with pytest.raises(ProviderUnavailable, match="cuda"):
        Localizer(ModelBundle.load(tiny_bundle), Compute("cuda"))


def test_auto_says_which_provider_it_took(tiny_bundle: Path) -> None:
    assert Localizer(ModelBundle.load(tiny_bundle), Compute("auto")).provider == "cpu"


@pytest.fixture(scope="module")
def localization(localizer: Localizer) -> Localization:
    return localizer.localize(bright_square(640, 320, 0.75, 0.25))


def test_the_answer_leaves_out_what_was_not_asked_for(localization: Localization) -> None:
    answer = to_answer(
        localization, id="7", heatmaps="none", boxes="none", diseases=["Mass", "Edema"]
    )
    assert [finding["disease"] for finding in answer["findings"]] == ["Mass", "Edema"]
    assert all(
        set(finding) == {"disease", "probability", "threshold", "positive"}
        for finding in answer["findings"]
    )
    assert answer["radiograph"] == {
        "format": "PNG",
        "width": 640,
        "height": 320,
        "field": {"x": 0, "y": 0, "width": 640, "height": 320},
        "image_left": "unknown",
        "window": None,
        "typicality": 1.0,
        "warnings": [],
    }


def test_only_positive_findings_have_boxes_unless_all_are_asked_for(
    localization: Localization,
) -> None:
    positive = to_answer(localization, id="7", boxes="positive")["findings"]
    assert all(not finding["boxes"] for finding in positive if not finding["positive"])
    every = to_answer(localization, id="7", boxes="all")["findings"]
    assert all(finding["boxes"] for finding in every)


@pytest.mark.parametrize("boxes", ["positive", "none", "all"])
def test_boxes_are_looked_for_only_where_they_are_asked_for(
    localizer: Localizer, boxes: BoxChoice
) -> None:
    radiographs = [bright_square(640, 320, 0.75, 0.25), bright_square(320, 640, 0.3, 0.6)]
    outputs = localizer.infer(localizer.prepare(radiographs))
    # A sixteenth is white: no disease would be positive by the mean, so one is made so.
    outputs.probabilities[:, 3] = 0.9
    every = localizer.interpret(radiographs, outputs)
    for localization, whole in zip(
        localizer.interpret(radiographs, outputs, boxes), every, strict=True
    ):
        for finding, complete in zip(localization.findings, whole.findings, strict=True):
            wanted = boxes == "all" or (boxes == "positive" and finding.disease == DISEASES[3])
            assert complete.boxes
            assert finding.boxes == (complete.boxes if wanted else ())
            assert finding.probability == complete.probability


def decode(png: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def test_the_overlay_draws_heat_and_box_where_the_disease_is(localization: Localization) -> None:
    radiograph = bright_square(640, 320, 0.75, 0.25)
    image = decode(draw_overlay(radiograph, localization, ["Atelectasis"])).astype(int)
    assert image.shape == (320, 640, 3)
    coloured = np.ptp(image, axis=2) > 40
    coloured[:40, :200] = False  # the legend
    rows, columns = np.nonzero(coloured)
    assert columns.mean() == pytest.approx(480, abs=20)
    assert rows.mean() == pytest.approx(80, abs=15)


def test_the_overlay_of_a_large_radiograph_is_scaled_down(localizer: Localizer) -> None:
    radiograph = bright_square(3000, 2000, 0.5, 0.5)
    image = decode(draw_overlay(radiograph, localizer.localize(radiograph)))
    assert image.shape == (683, 1024, 3)
