"""COCO's average precision of boxes, by pycocotools.

The official boxes of ChestX-ray14 do not name all that a radiograph shows: of a disease, only
radiographs on which it was boxed are asked for it, as in the published protocol.
"""

import contextlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from training.protocol import LOCALIZED, ORIGINAL_SIDE, Shown, Target

COCO_IOU = tuple(np.arange(0.5, 1.0, 0.05).round(2).tolist())
"""COCO's own, over which its AP is the mean."""
LOOSE_IOU = (0.1, 0.3)
"""What boxes of a coarse heat map can be asked for."""
RECALLS = 101

NAMES = ("AP", "AP 0.1", "AP 0.3", "AP 0.5", "AP 0.75")


def average_precision(
    targets: list[Target], shown: list[Shown]
) -> dict[str, dict[str, float | int]]:
    """AP of the candidates, by score: their mean over the diseases, and per disease.

    Args:
        targets: official boxes.
        shown: what a method answers of each target.

    Returns:
        By disease, and `mean`: `boxes`, and the figures of `NAMES`; `AP` is the mean over IoU 0.5,
        0.55, ... 0.95.
    """
    present = [disease for disease in LOCALIZED if any(t.disease == disease for t in targets)]
    per_disease = {
        disease: _figures(
            [pair for pair in zip(targets, shown, strict=True) if pair[0].disease == disease]
        )
        for disease in present
    }
    means = {name: float(np.mean([each[name] for each in per_disease.values()])) for name in NAMES}
    boxes = sum(int(each["boxes"]) for each in per_disease.values())
    return {"mean": {"boxes": boxes, **means}, **per_disease}


def _figures(pairs: list[tuple[Target, Shown]]) -> dict[str, float | int]:
    precision = _precision(pairs)
    by_iou = dict(zip((*LOOSE_IOU, *COCO_IOU), precision.mean(axis=1).tolist(), strict=True))
    return {
        "boxes": sum(len(target.boxes) for target, _ in pairs),
        "AP": float(np.mean([by_iou[iou] for iou in COCO_IOU])),
        **{name: by_iou[float(name.removeprefix("AP "))] for name in NAMES[1:]},
    }


def _precision(pairs: list[tuple[Target, Shown]]) -> NDArray[np.float64]:
    """Of one disease: `[IoU thresholds, recalls]`."""
    truth = [
        (image, {"bbox": list(box)})
        for image, (target, _) in enumerate(pairs, 1)
        for box in target.boxes
    ]
    found = [
        (image, {"bbox": list(box), "score": score})
        for image, (_, each) in enumerate(pairs, 1)
        for box, score in zip(each.candidates, each.scores, strict=True)
    ]
    if not found:
        return np.zeros((len(LOOSE_IOU) + len(COCO_IOU), RECALLS))
    # pycocotools reports its progress on standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        official, answered = _coco(pairs, truth), _coco(pairs, found)
        evaluation = COCOeval(official, answered, "bbox")
        evaluation.params.iouThrs = np.array((*LOOSE_IOU, *COCO_IOU))
        evaluation.evaluate()
        evaluation.accumulate()
    # Axes: IoU thresholds, recalls, categories, areas (the first is of all), most boxes per image.
    return np.asarray(evaluation.eval["precision"][:, :, 0, 0, -1])


def _coco(pairs: list[tuple[Target, Shown]], boxes: list[tuple[int, dict[str, Any]]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": image, "width": ORIGINAL_SIDE, "height": ORIGINAL_SIDE}
            for image in range(1, len(pairs) + 1)
        ],
        "categories": [{"id": 1, "name": pairs[0][0].disease}],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": 1,
                "iscrowd": 0,
                "area": box["bbox"][2] * box["bbox"][3],
                **box,
            }
            for number, (image, box) in enumerate(boxes, 1)
        ],
    }
    coco.createIndex()
    return coco
