"""Scores a bundle through `localization.Localizer`: what is evaluated is what is served.

Classification is scored by the area under the ROC curve, localization by the protocol of Wang et
al., CVPR 2017 (section 5.2), beside maps that know nothing and maps that know everything.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from localization import DISEASES, Box, Localizer, ModelBundle, find_boxes
from localization.boxes import PUBLISHED_THRESHOLDS, enlarge
from training.areas import disease_areas
from training.dataset import ChestXray14, read_radiograph
from training.free_response import AFP, Detections, accuracies

BATCH = 16
ORIGINAL_SIDE = 1024
"""Side of the originals in whose pixels the official boxes are given."""

IOBB = (0.1, 0.25, 0.5, 0.75, 0.9)
IOU = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
FREE_RESPONSE_IOU = (0.1, 0.3, 0.5)
LOCALIZED = DISEASES[:8]
"""The diseases that have official boxes."""

Rectangle = tuple[float, float, float, float]
"""x, y, width, height in pixels of the original."""


@dataclass(frozen=True)
class Shown:
    """What a method shows of one disease in one radiograph."""

    boxes: list[Rectangle]
    """By the published protocol."""
    peak: tuple[float, float]
    """x, y of the strongest point."""
    candidates: list[Rectangle]
    """As the method itself answers, by thresholds of its own."""
    scores: list[float]
    """Of the candidates; comparable between radiographs."""


@dataclass(frozen=True)
class Target:
    """The official boxes of one disease in one radiograph."""

    stem: str
    patient: int
    disease: str
    boxes: list[Rectangle]


@dataclass(frozen=True)
class Predictions:
    """A model's probabilities of the test part, and its maps of the radiographs with boxes."""

    probabilities: NDArray[np.float32]
    """`[radiographs, 14]`, in the order of the table."""
    heatmaps: dict[str, NDArray[np.float32]]
    """By stem, `[14, rows, columns]`."""


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
    methods: dict[str, Callable[[Target], Shown]] = {
        "model": shown_by(localizer.bundle, predictions),
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
        "localization": {
            group: {name: score_localization(chosen, method) for name, method in methods.items()}
            for group, chosen in patient_groups(targets).items()
        },
    }


def predict(localizer: Localizer, table: pd.DataFrame, with_boxes: set[str]) -> Predictions:
    """Run a model over a table of radiographs."""
    probabilities, heatmaps = [], {}
    progress = tqdm(total=len(table), desc="Scoring", unit="img")
    for rows in _chunks(table, BATCH):
        radiographs = [read_radiograph(file) for file in rows["file"]]
        outputs = localizer.infer(localizer.prepare(radiographs))
        probabilities.append(outputs.probabilities)
        heatmaps.update(
            (stem, maps)
            for stem, maps in zip(rows.index, outputs.heatmaps, strict=True)
            if stem in with_boxes
        )
        progress.update(len(rows))
    return Predictions(np.concatenate(probabilities), heatmaps)


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


def read_targets(data: ChestXray14) -> list[Target]:
    """The official boxes whose radiograph is here, one target per radiograph and disease."""
    here = data.boxes[data.boxes["stem"].isin(data.table.index)]
    columns = ["x", "y", "width", "height"]
    return [
        Target(
            stem,
            int(rows["patient"].iloc[0]),
            disease,
            [tuple(b) for b in rows[columns].to_numpy()],
        )
        for (stem, disease), rows in here.groupby(["stem", "disease"])
    ]


def patient_groups(targets: list[Target]) -> dict[str, list[Target]]:
    """All targets, and halves by the parity of the patient id.

    Boxes of even patients may be looked at while a model is made, so its figures are those of
    the odd ones; over all patients they compare with the literature.
    """
    return {
        "all patients": targets,
        "even patients": [target for target in targets if target.patient % 2 == 0],
        "odd patients": [target for target in targets if target.patient % 2 == 1],
    }


CENTRED = Shown(
    [(ORIGINAL_SIDE / 4, ORIGINAL_SIDE / 4, ORIGINAL_SIDE / 2, ORIGINAL_SIDE / 2)],
    (ORIGINAL_SIDE / 2, ORIGINAL_SIDE / 2),
    [(ORIGINAL_SIDE / 4, ORIGINAL_SIDE / 4, ORIGINAL_SIDE / 2, ORIGINAL_SIDE / 2)],
    [1.0],
)
"""A box of half the side in the middle, which no model may be proud of less than."""


def show(heatmap: NDArray[np.float32], thresholds: Sequence[float] = PUBLISHED_THRESHOLDS) -> Shown:
    """What a map `[rows, columns]` shows, its candidates by thresholds of its own."""
    boxes = find_boxes(heatmap, ORIGINAL_SIDE, ORIGINAL_SIDE, PUBLISHED_THRESHOLDS)
    candidates = find_boxes(heatmap, ORIGINAL_SIDE, ORIGINAL_SIDE, thresholds)
    fine = enlarge(heatmap)
    row, column = np.unravel_index(np.argmax(fine), fine.shape)
    cell = ORIGINAL_SIDE / fine.shape[0]
    return Shown(
        [_rectangle(box) for box in boxes],
        ((column + 0.5) * cell, (row + 0.5) * cell),
        [_rectangle(box) for box in candidates],
        [box.score for box in candidates],
    )


def shown_by(bundle: ModelBundle, predictions: Predictions) -> Callable[[Target], Shown]:
    """What a model shows of its predictions, its candidates by the manifest's thresholds."""
    thresholds = bundle.manifest.box_thresholds
    return lambda t: show(
        predictions.heatmaps[t.stem][DISEASES.index(t.disease)], thresholds[t.disease]
    )


def _rectangle(box: Box) -> Rectangle:
    return box.x, box.y, box.width, box.height


def coverage(boxes: list[Rectangle], rows: int, columns: int) -> NDArray[np.float32]:
    """The map of one who knows the truth: how much of each cell the boxes cover, in [0, 1]."""
    cells = np.zeros((rows, columns), np.float32)
    for x, y, width, height in boxes:
        down = _overlap(np.arange(rows), ORIGINAL_SIDE / rows, y, height)
        across = _overlap(np.arange(columns), ORIGINAL_SIDE / columns, x, width)
        cells = np.maximum(cells, np.outer(down, across).astype(np.float32))
    return cells


def _overlap(
    index: NDArray[np.int64], cell: float, start: float, length: float
) -> NDArray[np.float64]:
    ends = np.minimum((index + 1) * cell, start + length)
    return np.clip((ends - np.maximum(index * cell, start)) / cell, 0, 1)


def score_localization(
    targets: list[Target], method: Callable[[Target], Shown]
) -> dict[str, dict[str, Any]]:
    """Figures over all boxes, per disease, and the mean over the diseases that have targets.

    AFP counts a disease's boxes that match no truth, per official box of all diseases: the
    denominator (984 over all patients) that reproduces the published table.
    """
    shown = [method(target) for target in targets]
    boxes = sum(len(target.boxes) for target in targets)
    scores: dict[str, dict[str, Any]] = {}
    for disease in LOCALIZED:
        chosen = [i for i, target in enumerate(targets) if target.disease == disease]
        if chosen:
            scores[disease] = _score(
                [targets[i] for i in chosen], [shown[i] for i in chosen], boxes
            )
    return {
        "all boxes": _score(targets, shown, boxes),
        "mean": _mean(list(scores.values())),
        **scores,
    }


def _score(targets: list[Target], shown: list[Shown], denominator: int) -> dict[str, Any]:
    overlaps = [overlap(s.boxes, t.boxes) for s, t in zip(shown, targets, strict=True)]
    hits = [inside(s.peak, box) for s, t in zip(shown, targets, strict=True) for box in t.boxes]
    best = np.concatenate([iou.max(axis=0, initial=0) for iou, _ in overlaps])
    return {
        "boxes": len(hits),
        "pointing game": float(np.mean(hits)),
        "mean IoU": float(best.mean()),
        "IoU": {str(t): _found([iou for iou, _ in overlaps], t, denominator) for t in IOU},
        "IoBB": {str(t): _found([iobb for _, iobb in overlaps], t, denominator) for t in IOBB},
        "free response": {str(t): _free_response(targets, shown, t) for t in FREE_RESPONSE_IOU},
    }


def _free_response(targets: list[Target], shown: list[Shown], threshold: float) -> dict[str, float]:
    found = accuracies(detections(targets, shown, threshold))
    return {str(afp): float(share) for afp, share in zip(AFP, found, strict=True)}


def detections(targets: list[Target], shown: list[Shown], threshold: float) -> Detections:
    """What a method finds of its targets, and what it shows beside them.

    Args:
        targets: of one disease, for a curve of that disease.
        shown: by the method, per target.
        threshold: a detected box finds a true one where their IoU is above it.
    """
    found, false = [], []
    for target, each in zip(targets, shown, strict=True):
        enough = overlap(each.candidates, target.boxes)[0] > threshold
        scores = np.array(each.scores).reshape(-1, 1)
        found.append(np.where(enough, scores, -np.inf).max(axis=0, initial=-np.inf))
        false.append(scores[~enough.any(axis=1), 0])
    patients = np.array([target.patient for target in targets])
    return Detections(
        patients,
        np.concatenate(found),
        np.repeat(patients, [len(each) for each in found]),
        np.concatenate(false),
        np.repeat(patients, [len(each) for each in false]),
    )


def _found(
    overlaps: list[NDArray[np.float64]], threshold: float, denominator: int
) -> dict[str, float]:
    """Share of true boxes found, and boxes that match no truth, over the denominator."""
    found = np.concatenate([o.max(axis=0, initial=0) > threshold for o in overlaps])
    false = sum(int((o.max(axis=1, initial=0) <= threshold).sum()) for o in overlaps)
    return {"accuracy": float(found.mean()), "afp": false / denominator}


def overlap(
    detected: list[Rectangle], true: list[Rectangle]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """IoU and IoBB (intersection over the detected box), each `[detected, true]`."""
    a = np.array(detected, float).reshape(-1, 1, 4)
    b = np.array(true, float).reshape(1, -1, 4)
    start = np.maximum(a[..., :2], b[..., :2])
    end = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    intersection = np.clip(end - start, 0, None).prod(axis=-1)
    area_a, area_b = a[..., 2:].prod(axis=-1), b[..., 2:].prod(axis=-1)
    return intersection / (area_a + area_b - intersection), intersection / area_a


def inside(point: tuple[float, float], box: Rectangle) -> bool:
    """Whether a point x, y lies in a box: what the pointing game counts."""
    x, y, width, height = box
    return x <= point[0] < x + width and y <= point[1] < y + height


def _mean(scores: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of nested figures, leaf by leaf; the counts of boxes are added."""
    mean: dict[str, Any] = {}
    for key, value in scores[0].items():
        values = [score[key] for score in scores]
        if isinstance(value, dict):
            mean[key] = _mean(values)
        else:
            mean[key] = sum(values) if key == "boxes" else float(np.mean(values))
    return mean
