"""What a worker does with one radiograph: bytes in, the answer's JSON out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from localization import (
    Localization,
    Localizer,
    Outputs,
    Policy,
    Radiograph,
    to_answer,
    to_picture,
)
from service.timeline import Timeline

STAGES = ("decode", "inference", "boxes", "encode")
"""Of the work on one radiograph, in their order."""


class Choices(NamedTuple):
    """What the client asked to have in the answer."""

    heatmaps: Literal["png", "values", "none"]
    boxes: Literal["positive", "all", "none"]
    diseases: Sequence[str] | None
    steps: bool = False
    picture: Literal["png", "none"] = "none"


@dataclass(frozen=True)
class Task:
    """What is to be done with one radiograph."""

    choices: Choices
    request_id: str
    max_pixels: int
    policy: Policy
    alone: bool = False
    """Whether it may take the whole machine: nothing else is at work or waits."""
    timeline: Timeline = field(default_factory=Timeline)
    """Where the work notes its stages, whatever becomes of it."""


@dataclass(frozen=True)
class Reply:
    """The answer, what may be said of the radiograph in a log, and what the metrics are told."""

    body: bytes
    format: str
    width: int
    height: int
    model_version: str
    """Of the model that answered."""
    probabilities: dict[str, float]
    """By disease."""
    warnings: tuple[str, ...]
    """The codes of what the answer warns of."""
    seconds: dict[str, float]
    """By stage."""


class Infer(Protocol):
    """Infers one radiograph, uint8 `[1, 1, side, side]`."""

    def __call__(self, inputs: NDArray[np.uint8], *, alone: bool) -> Outputs: ...


def localize(task: Task, data: bytes | memoryview, localizer: Localizer, infer: Infer) -> Reply:
    """Do the work, and note its stages in the task's timeline.

    Args:
        task: what is asked for.
        data: the radiograph's file.
        localizer: prepares and interprets.
        infer: what runs its graph.

    Raises:
        RadiographRefused: the bytes are not a radiograph that can be read.
    """
    during = task.timeline.during
    with during("decode"):
        radiograph = Radiograph.read(data, max_pixels=task.max_pixels, policy=task.policy)
        inputs = localizer.prepare([radiograph])
    with during("inference"):
        outputs = infer(inputs, alone=task.alone)
    with during("boxes"):
        (localization,) = localizer.interpret(
            [radiograph], outputs, task.choices.boxes, task.policy
        )
    with during("encode"):
        body = _encode(radiograph, localization, task)
    return Reply(
        body,
        localization.radiograph.format,
        localization.radiograph.width,
        localization.radiograph.height,
        localization.model_version,
        {finding.disease: finding.probability for finding in localization.findings},
        tuple(doubt.code for doubt in localization.radiograph.warnings),
        _seconds(task.timeline),
    )


def _encode(radiograph: Radiograph, localization: Localization, task: Task) -> bytes:
    choices = task.choices
    return orjson.dumps(
        to_answer(
            localization,
            id=task.request_id,
            heatmaps=choices.heatmaps,
            boxes=choices.boxes,
            diseases=choices.diseases,
            steps=choices.steps,
            picture=to_picture(radiograph.pixels) if choices.picture == "png" else None,
        )
    )


def _seconds(timeline: Timeline) -> dict[str, float]:
    seconds = timeline.seconds(time.perf_counter())
    return {stage: seconds[stage] for stage in STAGES}
