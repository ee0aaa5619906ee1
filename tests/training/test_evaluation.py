import io
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from localization import DISEASES, Compute, Localizer, ModelBundle
from training.areas import mean_area
from training.dataset import ChestXray14
from training.evaluation import evaluate, predict, score_classification
from training.protocol import (
    CENTRED,
    Shown,
    Target,
    coverage,
    inside,
    overlap,
    read_targets,
    score_localization,
    show,
)
from training.report import print_report


def test_overlaps_of_known_boxes() -> None:
    iou, iobb = overlap([(0, 0, 10, 10), (20, 20, 5, 5)], [(5, 0, 10, 10)])
    assert iou[:, 0] == pytest.approx([50 / 150, 0])
    assert iobb[:, 0] == pytest.approx([0.5, 0])


def targets() -> list[Target]:
    return [
        Target("a", 1, "Mass", [(100, 100, 100, 100)]),
        Target("b", 2, "Mass", [(300, 300, 100, 100)]),
    ]


def test_a_box_counts_as_found_above_the_threshold_and_others_as_false() -> None:
    shown = {
        "a": Shown([(100, 100, 100, 50), (600, 600, 9, 9)], (150, 120), [], []),
        "b": Shown([(0, 0, 50, 50)], (20, 20), [], []),
    }
    score = score_localization(targets(), lambda target: shown[target.stem])["Mass"]
    assert score["boxes"] == 2
    assert score["pointing game"] == 0.5
    assert score["mean IoU"] == pytest.approx(0.25)
    # The half box reaches an IoU of 0.5, which is not above 0.5, and an IoBB of 1.
    assert score["IoU"]["0.4"] == {"accuracy": 0.5, "afp": 2 / 2}
    assert score["IoU"]["0.5"] == {"accuracy": 0.0, "afp": 3 / 2}
    assert score["IoBB"]["0.9"] == {"accuracy": 0.5, "afp": 2 / 2}


def test_what_a_map_of_a_field_shows_is_where_the_field_is() -> None:
    heatmap = np.zeros((8, 8), np.float32)
    heatmap[2, 5] = 1
    everywhere, within = show(heatmap), show(heatmap, field=(512, 256, 512, 256))
    (x, y, width, height), *_ = everywhere.boxes
    assert within.boxes[0] == pytest.approx((512 + x / 2, 256 + y / 4, width / 2, height / 4))
    assert within.candidates[0] == within.boxes[0]
    assert within.peak == (512 + everywhere.peak[0] / 2, 256 + everywhere.peak[1] / 4)


def test_boxes_of_a_radiograph_with_borders_are_scored_in_the_whole_of_it(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    pixels = np.zeros((512, 512), np.uint8)
    pixels[128:384, 128:384] = 90
    pixels[192:256, 256:320] = 255
    cv2.imwrite(str(tmp_path / "bordered.png"), pixels)
    table = pd.DataFrame({"file": [str(tmp_path / "bordered.png")]}, index=["bordered"])
    localizer = Localizer(ModelBundle.load(tiny_bundle), Compute("cpu", threads=1))
    target = Target("bordered", 1, "Mass", [(512, 384, 128, 128)])
    shown = predict(localizer, table, {"bordered"}).show(target, [0.9])
    # The map has 8 cells over the field, so a box is true to half of one, 64 pixels.
    assert shown.candidates[0] == pytest.approx(target.boxes[0], abs=64)
    assert inside(shown.peak, target.boxes[0])


def test_a_method_that_shows_nothing_scores_nothing() -> None:
    score = score_localization(targets(), lambda target: Shown([], (0, 0), [], []))["mean"]
    assert score["pointing game"] == score["mean IoU"] == 0
    assert score["IoU"]["0.1"] == {"accuracy": 0, "afp": 0}


def test_the_mean_is_over_diseases_not_over_boxes() -> None:
    several = [*targets(), Target("c", 3, "Nodule", [(0, 0, 10, 10)])]
    score = score_localization(several, lambda target: Shown(target.boxes, (150, 150), [], []))
    assert score["mean"]["boxes"] == score["all boxes"]["boxes"] == 3
    assert score["mean"]["pointing game"] == pytest.approx((0.5 + 0) / 2)
    assert score["all boxes"]["pointing game"] == pytest.approx(1 / 3)
    assert score["Mass"]["IoU"]["0.7"]["afp"] == 0


def test_the_map_of_one_who_knows_finds_the_box_up_to_its_grid() -> None:
    truth = (256.0, 512.0, 256.0, 128.0)
    best = []
    for cells in (8, 16, 64):
        shown = show(coverage([truth], cells, cells))
        best.append(overlap(shown.boxes, [truth])[0].max())
        x, y = shown.peak
        assert 256 <= x <= 512
        assert 512 <= y <= 640
    assert best == sorted(best)
    assert best[-1] > 0.9


def test_the_centred_box_is_scored_like_any_other(data: ChestXray14) -> None:
    score = score_localization(read_targets(data), lambda target: CENTRED)
    # The made boxes lie at 512 to 768 by 256 to 512: a quarter of the centred box.
    assert score["mean"]["mean IoU"] == pytest.approx(0.25)


def test_the_published_floor_is_reproduced(chestxray14: Path) -> None:
    """A centred box of half the side, over the 984 official boxes."""
    data = ChestXray14.read(chestxray14)
    score = score_localization(read_targets(data), lambda target: CENTRED)["all boxes"]
    assert score["boxes"] == 984
    assert score["pointing game"] == pytest.approx(0.215, abs=1e-3)
    assert score["mean IoU"] == pytest.approx(0.162, abs=1e-3)
    accuracies = [score["IoU"][t]["accuracy"] for t in ("0.1", "0.3", "0.5")]
    assert accuracies == pytest.approx([0.453, 0.204, 0.098], abs=1e-3)
    accuracies = [score["IoBB"][t]["accuracy"] for t in ("0.1", "0.25", "0.5")]
    assert accuracies == pytest.approx([0.483, 0.266, 0.134], abs=1e-3)


def test_a_disease_without_positives_is_not_in_the_mean() -> None:
    labels = torch.tensor([[1, 0], [0, 0], [1, 0]])
    assert mean_area(torch.tensor([[0.9, 0.1], [0.2, 0.5], [0.8, 0.3]]), labels) == 1.0


def test_auc_is_given_for_each_native_side() -> None:
    random = np.random.default_rng(0)
    labels = random.random((400, 14)) < 0.3
    labels[:, 13] = False
    table = pd.DataFrame(labels, columns=list(DISEASES))
    table["native_side"] = np.where(np.arange(400) < 200, 1024, 128)
    scores = np.where(np.arange(400)[:, None] < 200, labels, ~labels).astype(np.float32)
    areas = score_classification(table, scores)
    assert areas["native 1024"]["mean"] == 1
    assert areas["native 128"]["mean"] == 0
    assert areas["all"]["Hernia"] is None


def test_a_bundle_is_scored_from_files_to_tables(tiny_bundle: Path, data: ChestXray14) -> None:
    figures = evaluate(Localizer(ModelBundle.load(tiny_bundle), Compute("cpu")), data)
    everyone = figures["localization"]["all patients"]
    # The tiny model's heat is brightness, and the bright square is the box.
    assert everyone["model"]["mean"]["pointing game"] == 1
    assert everyone["model"]["mean"]["mean IoU"] > 0.6
    without = {"random map", "centred box", "grid's upper bound"}
    assert set(everyone) == {"model", "model's own cuts"} | without
    output = io.StringIO()
    print_report(figures, Console(file=output, width=160))
    assert "grid's upper bound" in output.getvalue()
    assert "native 1024" in output.getvalue()
