"""The work on one radiograph without a server: what every method does, or a part of it."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import orjson
from numpy.typing import NDArray

from localization import (
    Compute,
    Localizer,
    ModelBundle,
    Outputs,
    Policy,
    Radiograph,
    shipped_bundle,
    to_answer,
)
from localization.session import open_session

WARM_UP = 1 / 6
"""Of a time slice, before it."""


@dataclass
class Slice:
    """What one time slice saw."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    """Seconds of each radiograph that was localized."""
    others: Counter[int] = field(default_factory=Counter)
    """Answers without a localization, by status; 0 is a connection that broke."""
    generator: float = 0.0
    """CPU seconds per request of the process that sent them; 0 where nothing was sent."""


@dataclass(frozen=True)
class Task:
    """A time slice to spend on one radiograph."""

    data: bytes
    seconds: float


def open_localizer(threads: int) -> Localizer:
    """The shipped model on the CPU; OpenCV too uses as many threads as one inference."""
    cv2.setNumThreads(threads)
    return Localizer(ModelBundle.load(shipped_bundle()), Compute("cpu", threads=threads))


def decode(
    localizer: Localizer, data: bytes, gate: Policy = "refuse"
) -> tuple[Radiograph, NDArray[np.uint8]]:
    """Bytes to the radiograph and the graph's input `[1, 1, side, side]`."""
    radiograph = Radiograph.read(data, policy=gate)
    return radiograph, localizer.prepare([radiograph])


def encode(
    localizer: Localizer, radiograph: Radiograph, outputs: Outputs, gate: Policy = "refuse"
) -> bytes:
    """The graph's outputs to the answer's JSON."""
    (localization,) = localizer.interpret([radiograph], outputs, "positive", policy=gate)
    return orjson.dumps(to_answer(localization, id="benchmark"))


def localize(localizer: Localizer, data: bytes, gate: Policy = "refuse") -> bytes:
    """Bytes to the answer's JSON, as the service's worker does it."""
    radiograph, inputs = decode(localizer, data, gate)
    return encode(localizer, radiograph, localizer.infer(inputs), gate)


def whole_job(threads: int) -> Callable[[Task], Slice]:
    """Spends slices on the whole work."""
    localizer = open_localizer(threads)
    return lambda task: _repeat(lambda: localize(localizer, task.data), task.seconds)


def bare_session(threads: int) -> Callable[[Task], Slice]:
    """Spends slices on ONNX Runtime alone: nothing is decoded, nothing interpreted."""
    bundle = ModelBundle.load(shipped_bundle())
    session = open_session(bundle, Compute("cpu", threads=threads)).graph

    def spend(task: Task) -> Slice:
        inputs = Radiograph.read(task.data).at_side(bundle.manifest.side)[None, None]
        return _repeat(lambda: session.run(None, {"radiographs": inputs}), task.seconds)

    return spend


def _repeat(work: Callable[[], object], seconds: float) -> Slice:
    """Work for a time slice after a warm-up; what begins in the slice counts, to its end."""
    _work_for(work, seconds * WARM_UP)
    return _work_for(work, seconds)


def _work_for(work: Callable[[], object], seconds: float) -> Slice:
    latencies: list[float] = []
    begun = now = time.perf_counter()
    while not latencies or now < begun + seconds:
        work()
        latencies.append(time.perf_counter() - now)
        now = time.perf_counter()
    return Slice(now - begun, latencies)
