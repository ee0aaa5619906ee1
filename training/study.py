"""The study: one table of what attention mining, preservation and aggregation each bring.

A row is a recipe. Rows are trained, exported and scored one after another; what is finished is
not done again, and what was interrupted goes on from its last epoch.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import Field

from localization import DISEASES, Compute, Localizer, ModelBundle
from localization.bundle import MANIFEST
from training.comparison import Difference, compare, compare_areas, figures
from training.dataset import ChestXray14
from training.evaluation import Predictions, predict, score_classification, shown_by
from training.export import export
from training.free_response import accuracies
from training.heat import PLAIN, HeatSetting
from training.protocol import (
    CENTRED,
    FREE_RESPONSE_IOU,
    LOCALIZED,
    Shown,
    Target,
    coverage,
    detections,
    patient_groups,
    read_targets,
    score_localization,
    show,
)
from training.quantization import median_seconds
from training.recipe import HarvestRecipe, MiningRecipe, PreservationRecipe, Recipe, Values
from training.study_plots import draw_contact_sheet, draw_curves
from training.train import BEST, LAST, load_network, train

CURVE_AFP = tuple(np.geomspace(1 / 32, 2, 25).tolist())
"""False boxes per radiograph at which curves are drawn."""


class Row(Values):
    """One line of the table: a classification stage, and how it goes on."""

    stage: str
    tiles: float = 0.0
    context: int = 0
    mining: MiningRecipe | None = None
    preservation: PreservationRecipe | None = None
    """Its companions are named by their stage."""
    harvest: HarvestRecipe | None = None


class Study(Values):
    """What is compared; `training/study.yaml` is the shipped one."""

    stages: dict[str, dict[str, Any]]
    """By name, each classification stage: its `recipe`, and values in place of that recipe's."""
    refinement: dict[str, Any] = Field(default_factory=dict)
    """Values of every row's second stage, in place of those of its first; `network` likewise."""
    comparisons: dict[str, tuple[str, ...]]
    """By the row that is the baseline, those that are compared with it. A stage counts as a row,
    `stage NAME`: its weights as they were before the second stage."""
    rows: dict[str, Row] = Field(default_factory=dict)
    plain: dict[str, str] = Field(default_factory=dict)
    """By name, the rows that are shown once more with their evidence as it is, as heat map."""

    @classmethod
    def load(cls, file: Path | None = None) -> "Study":
        """Read a study; without a file, the shipped one."""
        text = file.read_text() if file else (files("training") / "study.yaml").read_text()
        return cls.model_validate(yaml.safe_load(text))

    def stage(self, name: str) -> Recipe:
        """The recipe of a classification stage."""
        values = self.stages[name]
        recipe = Recipe.load(values["recipe"]).model_dump() | values
        del recipe["recipe"]
        return Recipe.model_validate(recipe)

    def recipe(self, name: str, starts: dict[str, Path]) -> Recipe:
        """The recipe of a row's second stage, from the weights of each first stage."""
        row = self.rows[name]
        preservation = row.preservation
        if preservation is not None:
            companions = tuple(str(starts[stage]) for stage in preservation.companions)
            preservation = preservation.model_copy(update={"companions": companions})
        first = self.stage(row.stage)
        values = first.model_dump() | self.refinement
        network = first.network.model_dump() | self.refinement.get("network", {})
        network["context"] = row.context
        return Recipe.model_validate(
            values
            | {
                "name": name,
                "tiles": row.tiles,
                "start": str(starts[row.stage]),
                "mining": row.mining,
                "preservation": preservation,
                "harvest": row.harvest,
                "network": network,
            }
        )


@dataclass(frozen=True)
class Result:
    """What a row's model says of the test part."""

    bundle: ModelBundle
    predictions: Predictions


def run_study(
    study: Study,
    data: ChestXray14,
    output: Path,
    cache: Path,
    starts: dict[str, Path],
    *,
    progress: bool = True,
) -> dict[str, Any]:
    """Train, export and score every row that is not there yet; returns all figures.

    Args:
        study: the rows.
        data: the official files.
        output: a folder per stage and per row, `study.json` and its pictures.
        cache: folder of decoded radiographs.
        starts: weights of classification stages that are trained already, by the stage's name.
        progress: show bars.

    Raises:
        ValueError: a start is of no stage, or a folder of another recipe than the study's.
    """
    if unknown := starts.keys() - study.stages.keys():
        raise ValueError(f"The study has no stage {', '.join(sorted(unknown))}.")
    starts = dict(starts)
    for stage in study.stages:
        if stage not in starts:
            starts[stage] = _trained(
                study.stage(stage), data, output / stage, cache, progress=progress
            )
    bundles = {}
    for stage in study.stages:
        name = f"stage {stage}"
        bundles[name] = _exported(output / name, data, cache, starts[stage])
    for name in study.rows:
        recipe = study.recipe(name, starts)
        checkpoint = _trained(recipe, data, output / name, cache, progress=progress)
        bundles[name] = _exported(output / name, data, cache, checkpoint)
    for name, row in study.plain.items():
        bundles[name] = _exported(output / name, data, cache, output / row / BEST, PLAIN)
    results = {name: _result(bundle, data) for name, bundle in bundles.items()}
    figures = score_study(study, results, data)
    (output / "study.json").write_text(json.dumps(figures, indent=1) + "\n")
    draw_curves(figures["curves"], output / "curves.svg")
    for name, result in results.items():
        sheet = output / name / "contact-sheet.png"
        draw_contact_sheet(result.bundle, data, read_targets(data), sheet)
    return figures


def _exported(
    folder: Path,
    data: ChestXray14,
    cache: Path,
    checkpoint: Path,
    setting: HeatSetting | None = None,
) -> ModelBundle:
    """The bundle of a row, exported now where it is not there yet."""
    bundle = folder / "bundle"
    if (bundle / MANIFEST).is_file():
        return ModelBundle.load(bundle)
    # Moved when complete, so that a killed export is not taken for a finished one.
    partial = folder / "partial" / "bundle"
    export(checkpoint, data, cache, partial, "0.0.0", setting, gate=False)
    partial.rename(bundle)
    return ModelBundle.load(bundle)


def _trained(
    recipe: Recipe, data: ChestXray14, folder: Path, cache: Path, *, progress: bool
) -> Path:
    """The best checkpoint of a run that is finished, or is finished now."""
    last, done = folder / LAST, folder / "finished"
    if last.is_file() and load_network(last)[0] != recipe:
        raise ValueError(
            f"{folder} holds a run of another recipe than {recipe.name}'s: remove that folder, or "
            "choose another output."
        )
    if not done.exists():
        train(recipe, data, folder, cache, resume=last.is_file(), progress=progress)
        done.touch()
    return folder / BEST


def _result(bundle: ModelBundle, data: ChestXray14) -> Result:
    localizer = Localizer(bundle, Compute("cpu"))
    table = data.part("test")
    with_boxes = {target.stem for target in read_targets(data)}
    return Result(bundle, predict(localizer, table, with_boxes))


def _seconds(bundles: dict[str, ModelBundle]) -> dict[str, float]:
    localizers = [Localizer(bundle, Compute("cpu")) for bundle in bundles.values()]
    return dict(zip(bundles, median_seconds(localizers), strict=True))


def score_study(study: Study, results: dict[str, Result], data: ChestXray14) -> dict[str, Any]:
    """Figures per row and group of patients, and each row's difference to its baselines."""
    table, targets = data.part("test"), read_targets(data)
    groups = patient_groups(targets)
    # On the finest grid of all, whose bound is the highest.
    methods = _without_model(max(results.values(), key=lambda r: r.bundle.manifest.grid))
    for name, result in results.items():
        methods[name] = shown_by(result.bundle, result.predictions)
    shown = {name: {id(t): method(t) for t in targets} for name, method in methods.items()}

    def of(name: str, chosen: list[Target]) -> list[Shown]:
        return [shown[name][id(target)] for target in chosen]

    odd = groups["odd patients"]
    return {
        "curves": free_response_curves(odd, {name: of(name, odd) for name in methods}),
        "auc": {
            name: score_classification(table, result.predictions.probabilities)
            for name, result in results.items()
        },
        "seconds": _seconds({name: result.bundle for name, result in results.items()}),
        "localization": {
            group: {
                name: {
                    "protocol": score_localization(chosen, lambda t, n=name: shown[n][id(t)])[
                        "all boxes"
                    ],
                    "compared": figures(chosen, of(name, chosen)),
                }
                for name in methods
            }
            for group, chosen in groups.items()
        },
        "differences": {
            group: {
                baseline: {
                    name: {
                        figure: asdict(difference)
                        for figure, difference in compare(
                            chosen, of(name, chosen), of(baseline, chosen)
                        ).items()
                    }
                    for name in names
                }
                for baseline, names in study.comparisons.items()
            }
            for group, chosen in groups.items()
        },
        "auc differences": {
            baseline: {
                name: asdict(_area_difference(results[name], results[baseline], table))
                for name in names
            }
            for baseline, names in study.comparisons.items()
        },
    }


def _area_difference(ours: Result, theirs: Result, table: pd.DataFrame) -> Difference:
    return compare_areas(
        table["patient"].to_numpy(),
        table[list(DISEASES)].to_numpy(bool),
        ours.predictions.probabilities,
        theirs.predictions.probabilities,
    )


def free_response_curves(targets: list[Target], shown: dict[str, list[Shown]]) -> dict[str, Any]:
    """Mean accuracy over the diseases of each method, at `CURVE_AFP`, per overlap threshold."""

    def curve(method: list[Shown], threshold: float) -> list[float]:
        curves = [
            accuracies(detections(*zip(*own, strict=True), threshold), afp=CURVE_AFP)
            for own in (
                [pair for pair in zip(targets, method, strict=True) if pair[0].disease == disease]
                for disease in LOCALIZED
            )
            if own
        ]
        return np.mean(curves, axis=0).tolist()

    return {
        "AFP": list(CURVE_AFP),
        "accuracy": {
            str(threshold): {name: curve(method, threshold) for name, method in shown.items()}
            for threshold in FREE_RESPONSE_IOU
        },
    }


def _without_model(result: Result) -> dict[str, Callable[[Target], Shown]]:
    """The rows that no model may be proud of less than."""
    rows, columns = next(iter(result.predictions.heatmaps.values())).shape[1:]
    random = np.random.default_rng(0)
    gaussian = centred_gaussian()
    return {
        "random map": lambda t: show(random.random((rows, columns), np.float32)),
        "centred Gaussian": lambda t: show(gaussian),
        "centred box": lambda t: CENTRED,
        "grid's upper bound": lambda t: show(coverage(t.boxes, rows, columns)),
    }


def centred_gaussian(cells: int = 32, deviation: float = 0.25) -> NDArray[np.float32]:
    """A map that is brightest in the middle; deviation in sides of the radiograph."""
    place = (np.arange(cells) + 0.5) / cells - 0.5
    axis = np.exp(-0.5 * (place / deviation) ** 2)
    return np.outer(axis, axis).astype(np.float32)
