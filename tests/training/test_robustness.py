"""What borders, text and crops made here do to findings, and whether it is measured rightly."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from localization import Compute, Localizer, ModelBundle
from localization.interpretation import Outputs
from training.alterations import ALTERATIONS, annotated, cropped, padded, untouched
from training.dataset import ChestXray14
from training.robustness import Robustness, measure, print_robustness


@pytest.fixture(scope="module")
def robustness(tiny_bundle: Path, data: ChestXray14) -> Robustness:
    localizer = Localizer(ModelBundle.load(tiny_bundle), Compute("cpu", threads=1))
    alterations = {
        "nothing": untouched,
        "padded": padded(0.3, 0.1, 0.2, 0.4),
        "annotated": annotated,
    }
    return measure(localizer, data, 4, alterations=alterations)


def test_originals_agree_with_themselves(robustness: Robustness) -> None:
    assert robustness.radiographs > 1
    for same in robustness.agreements["nothing"].values():
        assert (same.fields, same.median, same.percentile_95) == (0, 0, 0)
        assert same.overlap == pytest.approx(1)
        assert (same.refused, same.warned) == (0, 0)


def test_findings_of_padded_radiographs_hold_where_the_field_is_looked_for(
    robustness: Robustness,
) -> None:
    found, whole = robustness.agreements["padded"][True], robustness.agreements["padded"][False]
    assert found.fields == 1
    assert found.percentile_95 < 0.001 < whole.median
    assert found.overlap > 0.99 > whole.overlap


def test_without_a_border_the_search_changes_nothing(robustness: Robustness) -> None:
    annotated_ones = robustness.agreements["annotated"]
    assert annotated_ones[True] == annotated_ones[False]
    assert annotated_ones[True].fields == 0


class Suspicious(Localizer):
    """Finds pictures blank or saturated, by its tones, that are black by more than a quarter."""

    tones = (0.0, 0.0)

    def infer(self, inputs: NDArray[np.uint8], *, alone: bool = True) -> Outputs:
        black = (inputs == 0).mean(axis=(1, 2, 3)) > 0.25
        tones = np.where(black[:, None], self.tones, (60, 0)).astype(np.float32)
        return super().infer(inputs, alone=alone)._replace(tones=tones)


@pytest.mark.parametrize(
    ("tones", "refused", "warned"),
    [((0.0, 0.0), 1, 0), ((60.0, 0.9), 0, 1)],
    ids=["blank", "saturated"],
)
def test_the_gate_is_asked_with_the_field_and_without_it(
    tiny_bundle: Path,
    data: ChestXray14,
    tones: tuple[float, float],
    refused: float,
    warned: float,
) -> None:
    localizer = Suspicious(ModelBundle.load(tiny_bundle), Compute("cpu", threads=1))
    localizer.tones = tones
    alterations = {"padded": padded(0.3, 0.1, 0.2, 0.4)}
    by_search = measure(localizer, data, 4, alterations=alterations).agreements["padded"]
    assert (by_search[True].refused, by_search[True].warned) == (0, 0)
    assert (by_search[False].refused, by_search[False].warned) == (refused, warned)


def test_the_table_has_a_row_for_each_alteration(robustness: Robustness) -> None:
    text = io.StringIO()
    print_robustness(robustness, Console(file=text, width=160))
    assert "padded" in text.getvalue()
    assert "100%" in text.getvalue()
    assert "annotated" in text.getvalue()


@pytest.mark.parametrize(
    "name", [name for name in ALTERATIONS if "noise" not in name and "text" not in name]
)
def test_an_alteration_says_where_the_original_went(name: str) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(50, 200, (300, 400), np.uint8)
    altered = ALTERATIONS[name](pixels, random)
    row, column = 150 + int(altered.y), 200 + int(altered.x)
    np.testing.assert_array_equal(
        altered.pixels[row : row + 9, column : column + 9], pixels[150:159, 200:209]
    )


def test_text_is_written_inside_the_field_and_outside_of_it() -> None:
    random = np.random.default_rng(0)
    gray = np.full((500, 400), 100, np.uint8)
    assert (annotated(gray, random).pixels == 255).any()
    outside = padded(0.2, 0.2, 0.2, 0.2, text=True)(gray, random).pixels
    assert (outside == 255).any()
    assert (outside[100:600, 80:480] == 100).all()


def test_a_crop_keeps_the_middle() -> None:
    pixels = np.arange(100, dtype=np.uint8)[None].repeat(200, axis=0)
    altered = cropped(0.1)(pixels, np.random.default_rng(0))
    assert altered.pixels.shape == (160, 80)
    assert altered.pixels[0, 0] == 10
