"""What a worker does with one radiograph: bytes in, the answer's JSON out."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from localization import Localization, Localizer, Outputs, Policy, Radiograph, to_answer


@dataclass(frozen=True)
class Choices:
    """What the client asked to have in the answer."""

    heatmaps: Literal["png", "values", "none"]
    boxes: Literal["positive", "all", "none"]
    diseases: Sequence[str] | None


@dataclass(frozen=True)
class Task:
    """One radiograph to localize."""

    data: bytes
    choices: Choices
    request_id: str
    max_pixels: int
    policy: Policy
    alone: bool = False
    """Whether it may take the whole machine: nothing else is at work or waits."""


@dataclass(frozen=True)
class Reply:
    """The answer, what may be said of the radiograph in a log, and what the metrics are told."""

    body: bytes
    format: str
    width: int
    height: int
    version: str
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


def localize(task: Task, localizer: Localizer, infer: Infer) -> Reply:
    """Do the work, and time each stage.

    Args:
        task: the radiograph, and what is asked for.
        localizer: prepares and interprets.
        infer: what runs its graph.

    Raises:
        RadiographRefused: the bytes are not a radiograph that can be read.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "decode"):
        radiograph = Radiograph.read(task.data, max_pixels=task.max_pixels, policy=task.policy)
        inputs = localizer.prepare([radiograph])
    with _timed(seconds, "inference"):
        outputs = infer(inputs, alone=task.alone)
    with _timed(seconds, "boxes"):
        (localization,) = localizer.interpret([radiograph], outputs, task.choices.boxes)
    with _timed(seconds, "encode"):
        body = _encode(localization, task)
    return Reply(
        body,
        localization.radiograph.format,
        localization.radiograph.width,
        localization.radiograph.height,
        localization.model_version,
        {finding.disease: finding.probability for finding in localization.findings},
        tuple(doubt.code for doubt in localization.radiograph.warnings),
        seconds,
    )


def _encode(localization: Localization, task: Task) -> bytes:
    return orjson.dumps(
        to_answer(
            localization,
            id=task.request_id,
            heatmaps=task.choices.heatmaps,
            boxes=task.choices.boxes,
            diseases=task.choices.diseases,
        )
    )


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = time.perf_counter() - started
