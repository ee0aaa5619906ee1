"""A study of tiny rows, and what chooses where heat maps are cut."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from localization import Compute, Localizer, ModelBundle
from localization.appearance import AppearanceLimits
from localization.boxes import PUBLISHED_THRESHOLDS
from training.box_thresholds import choose_box_thresholds
from training.dataset import ChestXray14
from training.export import export
from training.heat import PLAIN
from training.recipe import Recipe
from training.study import Row, Study, centred_gaussian, run_study
from training.study_report import describe

TINY = Path(__file__).parent.parent / "data" / "tiny.yaml"


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(
        stages={"msa": {"recipe": str(TINY), "epochs": 1}},
        refinement={"epochs": 1, "input_sides": [64]},
        comparisons={"MSA": ("MSA+AM+KP", "plain MSA"), "stage msa": ("MSA",)},
        rows={
            "MSA": Row(stage="msa"),
            "MSA+AM+KP": Row.model_validate(
                {
                    "stage": "msa",
                    "context": 3,
                    "mining": {"steps": 2},
                    "preservation": {"companions": ["msa"]},
                }
            ),
        },
        plain={"plain MSA": "MSA"},
    )


def test_every_row_begins_with_its_stage_and_is_scored(
    study: Study, data: ChestXray14, tmp_path: Path
) -> None:
    figures = run_study(study, data, tmp_path, tmp_path / "cache", {}, progress=False)
    assert list(figures["auc"]) == ["stage msa", "MSA", "MSA+AM+KP", "plain MSA"]
    assert {"random map", "centred Gaussian", "centred box", "grid's upper bound"} < set(
        figures["localization"]["odd patients"]
    )
    bundle = ModelBundle.load(tmp_path / "MSA+AM+KP" / "bundle")
    assert bundle.manifest.steps == 3
    recipe = bundle.manifest.training["recipe"]
    assert recipe["start"] == str(tmp_path / "msa" / "best.ckpt")
    assert recipe["mining"]["steps"] == 2
    assert recipe["preservation"]["companions"] == [recipe["start"]]
    assert bundle.manifest.appearance == AppearanceLimits(refused=0, doubtful=0, presentation=1)
    blank = np.zeros((1, 1, bundle.manifest.side, bundle.manifest.side), np.uint8)
    outputs = Localizer(bundle, Compute("cpu")).infer(blank)
    assert outputs.typicality[0] == 1
    assert outputs.presentation[0] == pytest.approx([0.25] * 4)
    plain = ModelBundle.load(tmp_path / "plain MSA" / "bundle")
    assert plain.manifest.calibration["heat"] == PLAIN._asdict()
    assert (tmp_path / "curves.svg").is_file()
    assert (tmp_path / "MSA+AM+KP" / "contact-sheet.png").is_file()
    tables = describe(figures)
    assert "| MSA+AM+KP |" in tables
    assert "Differences to stage msa" in tables
    assert "grid's upper bound" in tables

    stamp = (tmp_path / "MSA" / "best.ckpt").stat().st_mtime_ns
    assert (
        run_study(study, data, tmp_path, tmp_path / "cache", {}, progress=False)["auc"]
        == (figures["auc"])
    )
    assert (tmp_path / "MSA" / "best.ckpt").stat().st_mtime_ns == stamp, "trained again"

    longer = study.model_copy(update={"refinement": study.refinement | {"epochs": 2}})
    with pytest.raises(ValueError, match="MSA holds a run of another recipe"):
        run_study(longer, data, tmp_path, tmp_path / "cache", {}, progress=False)


@pytest.mark.parametrize("name", ["study", "second-round", "average-pooling", "learning-curve"])
def test_the_shipped_studies_are_made_of_recipes(name: str) -> None:
    study = Study.load(Path(str(files("training") / f"{name}.yaml")))
    assert set(study.plain.values()) <= set(study.rows)
    compared = {*study.comparisons, *(n for names in study.comparisons.values() for n in names)}
    assert compared <= {*study.rows, *study.plain, *(f"stage {stage}" for stage in study.stages)}
    for name in study.rows:
        recipe = study.recipe(name, dict.fromkeys(study.stages, Path("start.ckpt")))
        assert recipe.epochs == study.refinement["epochs"]
        parts = name.split("+")
        assert (recipe.preservation is None) == ("KP" not in parts)
        assert (recipe.mining is None) == (not any(part.startswith("AM") for part in parts))


def test_the_learning_curve_takes_as_many_steps_for_each_share_of_patients() -> None:
    study = Study.load(Path(str(files("training") / "learning-curve.yaml")))
    recipes = [study.stage(name) for name in study.stages]
    assert [recipe.patients for recipe in recipes] == [0.25, 0.5, 1]
    assert len({recipe.patients * recipe.epochs for recipe in recipes}) == 1
    alike = {"patients": 1, "epochs": 1}
    assert len({recipe.model_copy(update=alike).model_dump_json() for recipe in recipes}) == 1


def test_heat_maps_are_cut_by_the_boxes_of_even_patients_alone(
    tiny_bundle: Path, data: ChestXray14
) -> None:
    cuts = choose_box_thresholds(Localizer(ModelBundle.load(tiny_bundle), Compute("cpu")), data)
    # The made data has a box of Effusion in patient 30 and one of Infiltration in patient 31.
    assert len(cuts["Effusion"]) == 1
    assert cuts["Infiltration"] == PUBLISHED_THRESHOLDS


def test_the_boxes_of_odd_patients_choose_nothing(
    checkpoint: Path, bundle: ModelBundle, data: ChestXray14, tmp_path: Path
) -> None:
    """Wherever they were, heat maps and cuts stay as they are."""
    odd = data.boxes["patient"] % 2 == 1
    assert odd.any()
    boxes = data.boxes.copy()
    boxes.loc[odd, ["x", "y", "width", "height"]] = [900.0, 900.0, 40.0, 40.0]
    boxes.loc[odd, "disease"] = "Effusion"
    moved = replace(data, boxes=boxes)
    cache = checkpoint.parent / "cache"
    again = export(checkpoint, moved, cache, tmp_path / "tiny-net", "0.0.1")
    assert again.manifest == bundle.manifest


def test_a_gaussian_in_the_middle_is_in_the_middle() -> None:
    gaussian = centred_gaussian()
    assert gaussian[15:17, 15:17].min() == gaussian.max()
    assert gaussian[0].max() < gaussian[8].max() < gaussian[16].max()


def test_the_rows_of_the_second_round_differ_in_mining_and_prior_alone() -> None:
    study = Study.load(Path(str(files("training") / "second-round.yaml")))
    starts = {"first": Path("models/stages/msa-am-kp.pth"), "taught": Path("taught.ckpt")}
    recipes = {name: study.recipe(name, starts) for name in study.rows}
    assert {recipe.start for recipe in recipes.values()} == {str(starts["first"])}
    alike = {"name": "", "harvest": None, "mining": None}
    assert len({r.model_copy(update=alike).model_dump_json() for r in recipes.values()}) == 1
    for name, recipe in recipes.items():
        assert (recipe.mining is not None) == ("AM" in name)
        assert (recipe.harvest is not None) == ("prior" in name)
    shipped = Recipe.load("second-round").model_dump()
    of_row = recipes["AM+KP+prior"].model_dump()
    # Where the taught network lies is another matter.
    for recipe in (shipped, of_row):
        recipe |= {"name": "", "preservation": recipe["preservation"] | {"companions": ()}}
    assert shipped == of_row
