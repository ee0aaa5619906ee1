"""Scores a bundle through `localization.Localizer`: what is evaluated is what is served.

Classification is scored by the area under the ROC curve, localization by `training.protocol`,
beside maps that know nothing and maps that know everything.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from localization import DISEASES, Localizer, ModelBundle
from training.areas import disease_areas
from training.dataset import ChestXray14, read_radiograph
from training.protocol import (
    CENTRED,
    Rectangle,
    Shown,
    Target,
    coverage,
    field_of,
    patient_groups,
    read_targets,
    score_localization,
    show,
)

BATCH = 16


@dataclass(frozen=True)
class Predictions:
    """A model's probabilities of the test part, and its maps of the radiographs with boxes."""

    probabilities: NDArray[np.float32]
    """`[radiographs, 14]`, in the order of the table."""
    heatmaps: dict[str, NDArray[np.float32]]
    """By stem, `[14, rows, columns]`."""
    step_heatmaps: dict[str, NDArray[np.float32]]
    """By stem, `[steps, 14, rows, columns]`."""
    fields: dict[str, Rectangle]
    """By stem, what the maps cover."""

    def show(self, target: Target, thresholds: Sequence[float]) -> Shown:
        """What the model shows of a target, its candidates by thresholds of its own."""
        disease = DISEASES.index(target.disease)
        steps = self.step_heatmaps[target.stem][:, disease]
        heatmap = self.heatmaps[target.stem][disease]
        return show(heatmap, thresholds, steps, self.fields[target.stem])


def evaluate(localizer: Localizer, data: ChestXray14, seed: int = 0) -> dict[str, Any]:
    """All figures of a model on the test part that is here, as a JSON document.

    Args:
        localizer: of the bundle.
        data: the official files.
        seed: of the random maps.
    """
    table = data.part("test")
    targets = read_targets(data)
    predictions = predict(localizer, table, {target.stem for target in targets})
    rows, columns = localizer.bundle.manifest.grid
    random = np.random.default_rng(seed)
    by_model = shown_by(localizer.bundle, predictions)
    methods: dict[str, Callable[[Target], Shown]] = {
        "model": by_model,
        "model's own cuts": lambda t: by_model(t).as_answered(),
        "random map": lambda t: show(random.random((rows, columns), np.float32)),
        "centred box": lambda t: CENTRED,
        "grid's upper bound": lambda t: show(coverage(t.boxes, rows, columns)),
    }
    return {
        "model": {
            "name": localizer.bundle.manifest.name,
            "version": localizer.bundle.manifest.version,
        },
        "radiographs": len(table),
        "missing_of_official_split": len(data.missing),
        "auc": score_classification(table, predictions.probabilities),
        "drift": measure_drift(localizer.bundle, predictions.probabilities),
        "localization": {
            group: {name: score_localization(chosen, method) for name, method in methods.items()}
            for group, chosen in patient_groups(targets).items()
        },
    }


def measure_drift(bundle: ModelBundle, probabilities: NDArray[np.float32]) -> dict[str, float]:
    """Population stability index by disease, as the service's monitoring would have it; empty
    where the manifest has no reference."""
    reference = bundle.manifest.reference
    if reference is None:
        return {}
    return {
        disease: reference.diseases[disease].stability_index(probabilities[:, index])
        for index, disease in enumerate(DISEASES)
    }


def predict(localizer: Localizer, table: pd.DataFrame, with_boxes: set[str]) -> Predictions:
    """Run a model over a table of radiographs."""
    probabilities, heatmaps, step_heatmaps, fields = [], {}, {}, {}
    progress = tqdm(total=len(table), desc="Scoring", unit="img")
    for rows in _chunks(table, BATCH):
        radiographs = [read_radiograph(file) for file in rows["file"]]
        outputs = localizer.infer(localizer.prepare(radiographs))
        probabilities.append(outputs.probabilities)
        for row, stem in enumerate(rows.index):
            if stem in with_boxes:
                heatmaps[stem] = outputs.heatmaps[row]
                step_heatmaps[stem] = outputs.step_heatmaps[row]
                fields[stem] = field_of(radiographs[row])
        progress.update(len(rows))
    return Predictions(np.concatenate(probabilities), heatmaps, step_heatmaps, fields)


def _chunks(table: pd.DataFrame, size: int) -> Iterator[pd.DataFrame]:
    return (table.iloc[start : start + size] for start in range(0, len(table), size))


def score_classification(
    table: pd.DataFrame, probabilities: NDArray[np.float32]
) -> dict[str, dict[str, float | None]]:
    """AUC per disease over all radiographs, and over those of one native side at a time.

    A network that reads the sharpness in place of the disease does well over all and badly
    within each side. A disease without positives has no AUC and is not in the mean.
    """
    sides = sorted(table["native_side"].unique(), reverse=True)
    groups = {"all": np.ones(len(table), bool)}
    groups |= {f"native {side}": (table["native_side"] == side).to_numpy() for side in sides}
    labels = table[list(DISEASES)].to_numpy(bool)
    return {name: _areas(labels[chosen], probabilities[chosen]) for name, chosen in groups.items()}


def _areas(
    labels: NDArray[np.bool_], probabilities: NDArray[np.float32]
) -> dict[str, float | None]:
    areas = disease_areas(torch.tensor(probabilities), torch.tensor(labels))
    known = [area for area in areas if area is not None]
    named = zip(DISEASES, areas, strict=True)
    return {
        "mean": round(float(np.mean(known)), 4),
        **{disease: None if area is None else round(area, 4) for disease, area in named},
    }


def shown_by(bundle: ModelBundle, predictions: Predictions) -> Callable[[Target], Shown]:
    """What a model shows of its predictions, its candidates by the manifest's thresholds."""
    thresholds = bundle.manifest.box_thresholds
    return lambda t: predictions.show(t, thresholds[t.disease])
