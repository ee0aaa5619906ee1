"""Where to cut each disease's heat map into boxes, chosen on the boxes of even patient ids."""

import numpy as np

from localization import DISEASES, Localizer
from localization.boxes import PUBLISHED_THRESHOLDS
from training.dataset import ChestXray14
from training.evaluation import Predictions, predict
from training.free_response import accuracies
from training.protocol import (
    FREE_RESPONSE_IOU,
    Target,
    detections,
    patient_groups,
    read_targets,
)

CANDIDATES = tuple(round(0.05 * step, 2) for step in range(2, 20))
"""Fractions of a map's range."""
RULE = (
    "one cut per disease, with the best mean accuracy at equal false positives over "
    f"T(IoU) {', '.join(map(str, FREE_RESPONSE_IOU))} on the official boxes of even patient ids; "
    "the published two cuts where a disease has no such box"
)


def choose_box_thresholds(localizer: Localizer, data: ChestXray14) -> dict[str, tuple[float, ...]]:
    """Per disease, the fractions of a map's range at which boxes are drawn; see `RULE`."""
    targets = patient_groups(read_targets(data))["even patients"]
    stems = {target.stem for target in targets}
    chosen = dict.fromkeys(DISEASES, PUBLISHED_THRESHOLDS)
    if not stems:
        return chosen
    predictions = predict(localizer, data.table.loc[sorted(stems)], stems)
    for disease in DISEASES:
        own = [target for target in targets if target.disease == disease]
        if own:
            chosen[disease] = (max(CANDIDATES, key=lambda cut: _accuracy(own, predictions, cut)),)
    return chosen


def _accuracy(targets: list[Target], predictions: Predictions, cut: float) -> float:
    shown = [predictions.show(target, (cut,)) for target in targets]
    return float(np.mean([accuracies(detections(targets, shown, t)) for t in FREE_RESPONSE_IOU]))
