"""What a worker does with one radiograph: bytes in, the answer's JSON out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from localization import Localization, Radiograph, to_answer
from service.inference import Inference
from service.metrics import Metrics


@dataclass(frozen=True)
class Choices:
    """What the client asked to have in the answer."""

    heatmaps: Literal["png", "values", "none"]
    boxes: Literal["positive", "all", "none"]
    diseases: Sequence[str] | None


@dataclass(frozen=True)
class Answer:
    """The answer, and what may be said of the radiograph in a log."""

    body: bytes
    format: str
    width: int
    height: int


@dataclass(frozen=True)
class Job:
    """One radiograph to localize; calling it does the work, and times each stage.

    The model is the one that serves when the work begins.
    """

    data: bytes
    choices: Choices
    request_id: str
    max_pixels: int
    inference: Callable[[], Inference]
    metrics: Metrics

    def __call__(self, alone: bool) -> Answer:
        """Return the answer. Raises `localization.RadiographRefused`."""
        localization = self._localize(alone)
        for finding in localization.findings:
            self.metrics.probabilities[finding.disease].observe(finding.probability)
        return Answer(
            self._encode(localization),
            localization.radiograph_format,
            localization.width,
            localization.height,
        )

    def _localize(self, alone: bool) -> Localization:
        stages, infer = self.metrics.stages, self.inference()
        localizer = infer.localizer
        with stages["decode"].time():
            radiograph = Radiograph.read(self.data, max_pixels=self.max_pixels)
            inputs = localizer.prepare([radiograph])
        with stages["inference"].time():
            outputs = infer(inputs, alone=alone)
        with stages["boxes"].time():
            (localization,) = localizer.interpret([radiograph], outputs, self.choices.boxes)
        return localization

    def _encode(self, localization: Localization) -> bytes:
        with self.metrics.stages["encode"].time():
            answer = to_answer(
                localization,
                id=self.request_id,
                heatmaps=self.choices.heatmaps,
                boxes=self.choices.boxes,
                diseases=self.choices.diseases,
            )
            return orjson.dumps(answer)
