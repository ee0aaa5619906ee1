"""The localization protocol of Wang et al., CVPR 2017 (section 5.2), and the pointing game.

What a method shows of a disease is scored against the official boxes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localization import DISEASES, Box, Radiograph, find_boxes
from localization.boxes import PUBLISHED_THRESHOLDS, enlarge
from training.dataset import ChestXray14
from training.free_response import AFP, Detections, accuracies

ORIGINAL_SIDE = 1024
"""Side of the originals in whose pixels the official boxes are given."""

IOBB = (0.1, 0.25, 0.5, 0.75, 0.9)
IOU = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
FREE_RESPONSE_IOU = (0.1, 0.3, 0.5)
LOCALIZED = DISEASES[:8]
"""The diseases that have official boxes."""

Rectangle = tuple[float, float, float, float]
"""x, y, width, height in pixels of the original."""

WHOLE: Rectangle = (0, 0, ORIGINAL_SIDE, ORIGINAL_SIDE)


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

    def as_answered(self) -> "Shown":
        """The candidates in place of the published protocol's boxes."""
        return replace(self, boxes=self.candidates)


@dataclass(frozen=True)
class Target:
    """The official boxes of one disease in one radiograph."""

    stem: str
    patient: int
    disease: str
    boxes: list[Rectangle]


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


def field_of(radiograph: Radiograph) -> Rectangle:
    """The field that a radiograph's heat maps cover."""
    field = radiograph.field
    across, down = ORIGINAL_SIDE / radiograph.width, ORIGINAL_SIDE / radiograph.height
    return field.x * across, field.y * down, field.width * across, field.height * down


def show(
    heatmap: NDArray[np.float32],
    thresholds: Sequence[float] = PUBLISHED_THRESHOLDS,
    step_heatmaps: NDArray[np.float32] | None = None,
    field: Rectangle = WHOLE,
) -> Shown:
    """What a map `[rows, columns]` of a field shows, its candidates as `find_boxes` finds them."""
    x, y, width, height = field
    boxes = find_boxes(heatmap, width, height, PUBLISHED_THRESHOLDS, origin=(x, y))
    candidates = find_boxes(heatmap, width, height, thresholds, step_heatmaps, (x, y))
    fine = enlarge(heatmap)
    row, column = np.unravel_index(np.argmax(fine), fine.shape)
    return Shown(
        [_rectangle(box) for box in boxes],
        (
            x + (column + 0.5) * width / fine.shape[1],
            y + (row + 0.5) * height / fine.shape[0],
        ),
        [_rectangle(box) for box in candidates],
        [box.score for box in candidates],
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
