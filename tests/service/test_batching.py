"""Batching: callers share runs of the graph, and no caller notices but by the clock."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from service_helpers import wait_until

from localization import DISEASES, Compute, Localizer, ModelBundle, Outputs
from service.batching import Batcher
from service.settings import Settings
from service.task import Choices, Reply, Task
from service.threads import ThreadEngine
from service.uploads import Uploads

SIDE, SLACK = 4, 1.0


def picture(value: int) -> NDArray[np.uint8]:
    return np.full((1, 1, SIDE, SIDE), value, np.uint8)


class Graph:
    """An inference that returns its inputs, notes its batches, and can be held."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def __call__(self, inputs: NDArray[np.uint8]) -> Outputs:
        values = inputs[:, 0, 0, 0]
        self.batches.append(values.tolist())
        self.entered.release()
        assert self.gate.wait(20), "the test never opened the gate"
        if 0 in values:
            raise ValueError("a zero")
        rows = values.astype(np.float32)[:, None]
        return Outputs(
            rows,
            rows[..., None, None] + 1,
            rows[..., None, None, None] + 2,
            values.astype(np.float32),
            rows,
            rows,
        )


def value_of(outputs: Outputs) -> int:
    """The value of the picture that ``outputs`` are of, alone in its batch of one."""
    value = int(outputs.probabilities.item())
    assert outputs.heatmaps.item() == value + 1
    assert outputs.step_heatmaps.item() == value + 2
    return value


def test_every_caller_gets_its_own_row_and_no_batch_is_too_large() -> None:
    graph = Graph()
    batcher = Batcher(graph, size=4, seconds=0.001)
    values = list(range(1, 256))
    with ThreadPoolExecutor(16) as callers:
        found = callers.map(lambda value: value_of(batcher(picture(value))), values, timeout=30)
        assert list(found) == values
    assert sorted(value for batch in graph.batches for value in batch) == values
    assert max(map(len, graph.batches)) <= 4


def test_callers_that_come_while_a_batch_runs_share_the_next_one() -> None:
    graph = Graph()
    batcher = Batcher(graph, size=4, seconds=0.2)
    graph.gate.clear()
    with ThreadPoolExecutor(5) as callers:
        first = callers.submit(batcher, picture(1))
        assert graph.entered.acquire(timeout=20)
        others = [callers.submit(batcher, picture(value)) for value in (2, 3, 4, 5)]
        wait_until(lambda: len(batcher._waiting) == 4)
        graph.gate.set()
        assert value_of(first.result(20)) == 1
        assert [value_of(each.result(20)) for each in others] == [2, 3, 4, 5]
    assert sorted(map(len, graph.batches)) == [1, 4]


def test_a_full_batch_does_not_wait_for_its_time_to_pass() -> None:
    graph = Graph()
    batcher = Batcher(graph, size=3, seconds=15)
    began = time.monotonic()
    with ThreadPoolExecutor(3) as callers:
        found = callers.map(lambda value: value_of(batcher(picture(value))), (1, 2, 3), timeout=20)
        assert list(found) == [1, 2, 3]
    assert time.monotonic() - began < 10
    assert [sorted(batch) for batch in graph.batches] == [[1, 2, 3]]


def test_a_caller_alone_waits_no_longer_than_it_was_said() -> None:
    batcher = Batcher(Graph(), size=8, seconds=0.05)
    began = time.monotonic()
    assert value_of(batcher(picture(7))) == 7
    assert time.monotonic() - began < 0.05 + SLACK


def test_an_error_reaches_all_of_its_batch_and_none_that_comes_later() -> None:
    graph = Graph()
    batcher = Batcher(graph, size=3, seconds=15)
    with ThreadPoolExecutor(3) as callers:
        together = [callers.submit(batcher, picture(value)) for value in (0, 1, 2)]
        assert [str(each.exception(20)) for each in together] == ["a zero"] * 3
        later = [callers.submit(batcher, picture(value)) for value in (3, 4, 5)]
        assert [value_of(each.result(20)) for each in later] == [3, 4, 5]
    assert len(graph.batches) == 2


class CountingLocalizer(Localizer):
    """A localizer that notes the sizes of what it infers."""

    def __init__(self, bundle: Path) -> None:
        super().__init__(ModelBundle.load(bundle), Compute("cpu", threads=1))
        self.sizes: list[int] = []

    def infer(self, inputs: Any, *, alone: bool = True) -> Any:
        self.sizes.append(len(inputs))
        return super().infer(inputs, alone=alone)


def engine_of(bundle: Path, batch_size: int, seconds: float = 0.02) -> ThreadEngine:
    settings = Settings(
        model=bundle,
        provider="cpu",
        workers=8,
        threads=1,
        batch_size=batch_size,
        batch_seconds=seconds,
    )
    return ThreadEngine(CountingLocalizer(bundle), settings)


def test_batches_of_four_give_the_probabilities_of_one_at_a_time(
    tiny_bundle: Path, radiographs: dict[str, bytes]
) -> None:
    batched, single = engine_of(tiny_bundle, 4), engine_of(tiny_bundle, 1)
    choices = Choices("values", "all", None)
    tasks = [Task(choices, str(number), 1_000_000, "off") for number in range(48)]
    files = [list(radiographs.values())[number % 3] for number in range(48)]
    answers = asyncio.run(ask_all(batched, tasks, files))
    assert isinstance(batched.localizer, CountingLocalizer)
    assert max(batched.localizer.sizes) > 1
    alone_answers = asyncio.run(ask_all(single, tasks, files))
    for task, answer, alone in zip(tasks, answers, alone_answers, strict=True):
        assert orjson.loads(answer.body)["id"] == task.request_id
        assert answer.format == alone.format
        for disease in DISEASES:
            expected = pytest.approx(alone.probabilities[disease], abs=1e-6)
            assert answer.probabilities[disease] == expected


async def ask_all(engine: ThreadEngine, tasks: list[Task], files: list[bytes]) -> list[Reply]:
    """Have all localized at once."""
    uploads = Uploads(max(map(len, files)))

    async def ask(task: Task, file: bytes) -> Reply:
        with uploads.open() as upload:
            upload.write(file)
            return await engine.localize(task, upload)

    return await asyncio.gather(*map(ask, tasks, files))


def test_warming_up_runs_the_sizes_of_batches_up_to_the_largest(tiny_bundle: Path) -> None:
    for batch_size, sizes in {1: {1}, 4: {1, 2, 4}, 6: {1, 2, 4, 6}}.items():
        engine = engine_of(tiny_bundle, batch_size)
        engine.warm_up()
        assert isinstance(engine.localizer, CountingLocalizer)
        assert set(engine.localizer.sizes) == sizes
