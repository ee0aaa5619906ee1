"""A study of tiny rows, and what chooses where heat maps are cut."""

from importlib.resources import files
from pathlib import Path

import pytest

from localization import Compute, Localizer, ModelBundle
from localization.boxes import PUBLISHED_THRESHOLDS
from training.box_thresholds import choose_box_thresholds
from training.dataset import ChestXray14
from training.heat import PLAIN
from training.recipe import Recipe
from training.study import Row, Study, centred_gaussian, run_study
from training.study_report import describe

TINY = Path(__file__).parent.parent / "data" / "tiny.yaml"


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(
        stages={"msa": str(TINY)},
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


def test_the_shipped_study_is_made_of_recipes() -> None:
    study = Study.load()
    assert set(study.plain.values()) <= set(study.rows)
    compared = {*study.comparisons, *(n for names in study.comparisons.values() for n in names)}
    assert compared <= {*study.rows, *study.plain, *(f"stage {stage}" for stage in study.stages)}
    for name in study.rows:
        recipe = study.recipe(name, dict.fromkeys(study.stages, Path("start.ckpt")))
        assert recipe.epochs == study.refinement["epochs"]
        assert (recipe.preservation is None) == ("+KP" not in name)
        assert (recipe.mining is None) == ("+AM" not in name)


def test_heat_maps_are_cut_by_the_boxes_of_even_patients_alone(
    tiny_bundle: Path, data: ChestXray14
) -> None:
    cuts = choose_box_thresholds(Localizer(ModelBundle.load(tiny_bundle), Compute("cpu")), data)
    # The made data has a box of Effusion in patient 30 and one of Infiltration in patient 31.
    assert len(cuts["Effusion"]) == 1
    assert cuts["Infiltration"] == PUBLISHED_THRESHOLDS


def test_a_gaussian_in_the_middle_is_in_the_middle() -> None:
    gaussian = centred_gaussian()
    assert gaussian[15:17, 15:17].min() == gaussian.max()
    assert gaussian[0].max() < gaussian[8].max() < gaussian[16].max()


def test_the_rows_of_the_second_round_differ_in_their_prior_alone() -> None:
    study = Study.load(Path(str(files("training") / "second-round.yaml")))
    starts = {"shipped": Path("models/lite0-msa-am-kp/network.pth")}
    recipes = [study.recipe(name, starts) for name in study.rows]
    control, *priors = recipes
    assert control.harvest is None
    assert {recipe.start for recipe in recipes} == {str(starts["shipped"])}
    for recipe in priors:
        assert recipe.harvest is not None
        assert recipe.harvest.weight > 0
        alike = recipe.model_copy(update={"harvest": None, "name": control.name})
        assert alike == control
    [same] = [recipe for recipe in priors if recipe.harvest == Recipe.load("second-round").harvest]
    ours = Recipe.load("second-round").model_copy(update={"name": same.name})
    assert ours == same
