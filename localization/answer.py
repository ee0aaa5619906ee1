"""A localization as the plain values of its JSON document: what the service and the command say."""

import base64
from collections.abc import Collection
from dataclasses import asdict
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from localization.boxes import Box
from localization.gate import Doubt
from localization.interpretation import BoxChoice, Facts, Finding, Localization

HeatmapChoice = Literal["png", "values", "none"]


def to_answer(
    localization: Localization,
    *,
    id: str,
    heatmaps: HeatmapChoice = "png",
    boxes: BoxChoice = "positive",
    diseases: Collection[str] | None = None,
    steps: bool = False,
    picture: NDArray[np.uint8] | None = None,
) -> dict[str, Any]:
    """The JSON document of a localization.

    Args:
        localization: of one radiograph.
        id: names the answer.
        heatmaps: `png`, an 8-bit image of the map (255 is 1.0); `values`, rows of numbers in
            [0, 1]; or `none`.
        boxes: of the findings that reach their operating point, of all, or none.
        diseases: the findings to give; all 14 where it is None.
        steps: give the heat map of each mining step, too, in the encoding of `heatmaps`.
        picture: the radiograph as shown, uint8 `[height, width]`; left out where it is None.
    """
    return {
        "id": id,
        "model": {"name": localization.model_name, "version": localization.model_version},
        "radiograph": _radiograph(localization.radiograph, picture),
        "findings": [
            _finding(finding, heatmaps, boxes, steps)
            for finding in localization.findings
            if diseases is None or finding.disease in diseases
        ],
    }


def _radiograph(facts: Facts, picture: NDArray[np.uint8] | None) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "format": facts.format,
        "width": facts.width,
        "height": facts.height,
        "field": asdict(facts.field),
        "image_left": facts.image_left,
        "window": facts.window,
        "typicality": round(facts.typicality, 4),
        "warnings": [_warning(doubt) for doubt in facts.warnings],
    }
    if picture is not None:
        answer["picture"] = _image(picture)
    return answer


def _warning(doubt: Doubt) -> dict[str, Any]:
    return {"code": doubt.code, "detail": doubt.sentence, "evidence": dict(doubt.evidence)}


def _finding(
    finding: Finding, heatmaps: HeatmapChoice, boxes: BoxChoice, steps: bool
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "disease": finding.disease,
        "probability": round(finding.probability, 6),
        "threshold": round(finding.threshold, 6),
        "positive": finding.positive,
    }
    if heatmaps != "none":
        answer["heatmap"] = _heatmap(finding.heatmap, heatmaps)
        if steps:
            answer["steps"] = [_heatmap(step, heatmaps) for step in finding.step_heatmaps]
    if boxes != "none":
        shown = finding.boxes if boxes == "all" or finding.positive else ()
        answer["boxes"] = [_box(box) for box in shown]
    return answer


def _heatmap(heatmap: NDArray[np.float32], encoding: Literal["png", "values"]) -> dict[str, Any]:
    if encoding == "png":
        return _image(np.rint(heatmap * 255).astype(np.uint8))
    rows, columns = heatmap.shape
    return {
        "encoding": "values",
        "width": columns,
        "height": rows,
        "data": heatmap.round(4).tolist(),
    }


def _image(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    height, width = pixels.shape
    _, encoded = cv2.imencode(".png", pixels)
    data = base64.b64encode(encoded.tobytes()).decode("ascii")
    return {"encoding": "png", "width": width, "height": height, "data": data}


def _box(box: Box) -> dict[str, Any]:
    return {
        "x": round(box.x, 1),
        "y": round(box.y, 1),
        "width": round(box.width, 1),
        "height": round(box.height, 1),
        "score": round(box.score, 4),
        "step": box.step,
    }
