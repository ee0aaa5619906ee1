"""Worker processes: they answer as threads do, and what befalls one of them stays with it."""

import multiprocessing
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from service_helpers import wait_until

from localization import BundleRefused, ModelBundle, RadiographRefused
from localization.bundle import sha256, write_manifest
from service.engine import Engine, EngineClosed, WorkFailed, load_localizer
from service.processes import ProcessEngine
from service.settings import Settings
from service.task import Choices, Reply, Task
from service.threads import ThreadEngine
from service.uploads import Uploads
from service.worker import work
from service.worker_process import processes

USUAL = Choices("png", "positive", None)
EVERYTHING = Choices("values", "all", None)


def cpu(bundle: Path, **more: Any) -> Settings:
    usual = {"provider": "cpu", "workers": 2, "threads": 1, "max_upload_bytes": 8 * 1024**2}
    return Settings(model=bundle, **usual, **more)


def task(data: bytes, choices: Choices = USUAL, **more: Any) -> tuple[Task, bytes]:
    """A task, and the radiograph that it is about."""
    usual = {"request_id": "1", "max_pixels": 1_000_000, "policy": "refuse"}
    return Task(choices, **{**usual, **more}), data


class Blocking:
    """An engine at an event loop of its own, that any thread may ask."""

    def __init__(self, engine: Engine, portal: BlockingPortal) -> None:
        self.engine = engine
        self._portal = portal
        self._uploads = Uploads(8 * 1024**2)

    def localize(self, job: tuple[Task, bytes]) -> Reply:
        return self._portal.call(self._localize, *job)

    async def _localize(self, task: Task, data: bytes) -> Reply:
        with self._uploads.open() as upload:
            upload.write(data)
            return await self.engine.localize(task, upload)

    def close(self) -> None:
        self._portal.call(self.engine.close)


Open = Callable[..., tuple[Blocking, list[BaseProcess]]]


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


def copy_of(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def workers() -> set[BaseProcess]:
    return {child for child in multiprocessing.active_children() if child.name == "localize"}


@pytest.fixture(scope="module")
def shared(tiny_bundle: Path, portal: BlockingPortal) -> Iterator[Blocking]:
    """An engine that its tests leave as it was."""
    engine = Blocking(ProcessEngine(cpu(tiny_bundle)), portal)
    yield engine
    engine.close()


def threads_with(bundle: Path, portal: BlockingPortal) -> Blocking:
    settings = cpu(bundle)
    localizer = load_localizer(settings, ModelBundle.load(settings.model))
    return Blocking(ThreadEngine(localizer, settings), portal)


@pytest.fixture
def opened(portal: BlockingPortal) -> Iterator[Open]:
    """Open an engine of its own, and say which processes are its workers."""
    engines: list[Blocking] = []

    def open_engine(bundle: Path, **more: Any) -> tuple[Blocking, list[BaseProcess]]:
        before = workers()
        engines.append(Blocking(ProcessEngine(cpu(bundle, **more)), portal))
        return engines[-1], list(workers() - before)

    yield open_engine
    for engine in engines:
        if not engine.engine._closed:
            engine.close()


def stop(worker: BaseProcess) -> None:
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)


def go_on(worker: BaseProcess) -> None:
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGCONT)


def kill(worker: BaseProcess) -> None:
    worker.kill()
    worker.join(20)
    assert worker.exitcode is not None


def replies(engine: Blocking, data: bytes, count: int) -> list[Reply | Exception]:
    """What each of ``count`` requests came to, one after another."""

    def ask() -> Reply | Exception:
        try:
            return engine.localize(task(data))
        except Exception as error:
            return error

    return [ask() for _ in range(count)]


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("choices", [USUAL, EVERYTHING])
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "DICOM"])
def test_a_process_answers_byte_for_byte_as_a_thread_does(
    shared: Blocking,
    tiny_bundle: Path,
    portal: BlockingPortal,
    radiographs: dict[str, bytes],
    image_format: str,
    choices: Choices,
    alone: bool,
) -> None:
    threads = threads_with(tiny_bundle, portal)
    job = task(radiographs[image_format], choices, alone=alone)
    ours, theirs = shared.localize(job), threads.localize(job)
    assert ours.body == theirs.body
    assert ours.probabilities == theirs.probabilities
    assert (ours.format, ours.width, ours.height) == (image_format, 96, 64)
    assert ours.seconds.keys() == theirs.seconds.keys()
    assert shared.engine.model == threads.engine.model


def test_a_small_upload_after_a_large_one_is_read_without_what_the_large_one_left(
    shared: Blocking, png: bytes
) -> None:
    alone = shared.localize(task(png)).body
    for _ in range(2):  # by each of the two workers
        assert shared.localize(task(png + bytes(6 * 1024**2))).body == alone
    for _ in range(2):
        with pytest.raises(RadiographRefused) as refusal:
            shared.localize(task(png[:-40]))
        assert refusal.value.reason == "truncated"
        assert shared.localize(task(png)).body == alone


def test_every_caller_gets_its_own_answer(shared: Blocking, radiographs: dict[str, bytes]) -> None:
    files = list(radiographs.items())

    def ask(number: int) -> tuple[str, str]:
        data = files[number % len(files)][1]
        answer = orjson.loads(shared.localize(task(data, request_id=str(number))).body)
        return answer["id"], answer["radiograph"]["format"]

    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(ask, range(48), timeout=30))
    assert answers == [(str(number), files[number % len(files)][0]) for number in range(48)]


def test_a_refusal_comes_with_its_reason_and_its_sentence(
    shared: Blocking, tiny_bundle: Path, portal: BlockingPortal, radiographs: dict[str, bytes]
) -> None:
    threads = threads_with(tiny_bundle, portal)
    refused = {
        "empty": task(b""),
        "unsupported-format": task(b"GIF89a" + bytes(100)),
        "truncated": task(radiographs["PNG"][:-200]),
        "too-many-pixels": task(radiographs["DICOM"], max_pixels=100),
    }
    for reason, job in refused.items():
        with pytest.raises(RadiographRefused) as theirs:
            threads.localize(job)
        with pytest.raises(RadiographRefused) as ours:
            shared.localize(job)
        assert ours.value.reason == theirs.value.reason == reason
        assert str(ours.value) == str(theirs.value)


def test_an_unexpected_error_tells_its_name_and_place_but_not_its_message(
    shared: Blocking, png: bytes
) -> None:
    choices = Choices("png", "positive", 4711)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(WorkFailed) as failure:
            shared.localize(task(png, choices))
        assert failure.value.name == "TypeError"
        assert any(place.endswith(" to_answer") for place in failure.value.where)
        told = f"{failure.value} {failure.value.args} {failure.value.where}"
        assert "iterable" not in told  # TypeError: argument of type 'int' is not iterable
    assert shared.localize(task(png)).format == "PNG"


@pytest.mark.parametrize("count", [1, 2])
def test_a_worker_that_is_killed_costs_one_request_at_most(
    opened: Open,
    tiny_bundle: Path,
    png: bytes,
    count: int,
) -> None:
    engine, both = opened(tiny_bundle)
    for victim in both[:count]:
        kill(victim)
    outcomes = replies(engine, png, 6)
    lost = [outcome for outcome in outcomes if not isinstance(outcome, Reply)]
    assert len(lost) <= count
    assert all(isinstance(error, WorkFailed) for error in lost)
    assert all(isinstance(outcome, Reply) for outcome in outcomes[-4:])


def test_a_worker_that_is_killed_at_work_costs_that_request_alone(
    opened: Open,
    tiny_bundle: Path,
    png: bytes,
) -> None:
    """Not those that are handed over already."""
    engine, (first, second) = opened(tiny_bundle)
    slow = [slow_task(), slow_task()]
    with ThreadPoolExecutor(4) as callers:
        at_work = [callers.submit(engine.localize, job) for job in slow]
        wait_until(lambda: all("decode" in job.timeline.noted() for job, _ in slow))
        ahead = [callers.submit(engine.localize, task(png)) for _ in range(2)]
        wait_until(lambda: engine.engine._free.qsize() == 0)
        kill(first)
        errors = [each.exception(30) for each in at_work]
        assert all(each.result(30).format == "PNG" for each in ahead)
    assert [type(error) for error in errors if error is not None] == [WorkFailed]
    assert all(isinstance(outcome, Reply) for outcome in replies(engine, png, 4))
    assert second.is_alive()


def test_a_worker_that_is_at_a_task_for_too_long_is_replaced(
    opened: Open, tiny_bundle: Path, png: bytes
) -> None:
    engine, (first, second) = opened(tiny_bundle, deadline_seconds=4)
    slow = [slow_task(), slow_task()]
    with ThreadPoolExecutor(3) as callers:
        at_work = [callers.submit(engine.localize, job) for job in slow]
        wait_until(lambda: all("decode" in job.timeline.noted() for job, _ in slow))
        stop(first)
        ahead = callers.submit(engine.localize, task(png))  # for the other one
        errors = [each.exception(30) for each in at_work]
        assert ahead.result(30).format == "PNG"
    assert [type(error) for error in errors if error is not None] == [WorkFailed]
    wait_until(lambda: not first.is_alive())
    assert second.is_alive()
    assert all(isinstance(outcome, Reply) for outcome in replies(engine, png, 6))


def test_what_no_worker_has_taken_in_time_is_given_up_and_not_done_later(
    opened: Open, tiny_bundle: Path, png: bytes
) -> None:
    engine, both = opened(tiny_bundle, deadline_seconds=0.5)
    for worker in both:
        stop(worker)
    late, data = task(png)
    with pytest.raises(WorkFailed, match="NoWorker"):
        engine.localize((late, data))
    for worker in both:
        go_on(worker)
    slot, *others = engine.engine._slots
    following = [task(png) for _ in others]
    for job in following:
        engine.localize(job)
    assert slot.worker == 0  # though one had been sent for it before all others
    assert all(slot.worker for slot in others)
    assert late.timeline.noted() == {}
    assert all(len(job.timeline.noted()) == 4 for job, _ in following)
    assert all(worker.is_alive() for worker in both)


def test_what_a_worker_is_at_is_known_before_it_answers(opened: Open, tiny_bundle: Path) -> None:
    """So that a request which is given up tells where its time went."""
    engine, both = opened(tiny_bundle)
    job, data = slow_task()
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(engine.localize, (job, data))
        wait_until(lambda: "decode" in job.timeline.noted())
        for worker in both:
            stop(worker)
        try:
            (began, ended) = job.timeline.noted()["decode"]
            assert ended is None
            assert job.timeline.seconds(began + 7) == {"decode": 7}
        finally:
            for worker in both:
                go_on(worker)
        assert asked.result(30).seconds.keys() == {"decode", "inference", "boxes", "encode"}
    assert list(job.timeline.noted()) == ["decode", "inference", "boxes", "encode"]
    assert all(ended is not None for _, ended in job.timeline.noted().values())


def test_what_a_worker_was_at_when_it_died_is_kept(
    opened: Open, tiny_bundle: Path, png: bytes
) -> None:
    engine, both = opened(tiny_bundle)
    job, data = slow_task()
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(engine.localize, (job, data))
        wait_until(lambda: "decode" in job.timeline.noted())
        for worker in both:
            kill(worker)
        assert type(asked.exception(30)) is WorkFailed
    assert [ended for _, ended in job.timeline.noted().values()] == [None]
    # And the next request's is its own.
    following = task(png)
    engine.localize(following)
    assert list(following[0].timeline.noted()) == ["decode", "inference", "boxes", "encode"]


def slow_task() -> tuple[Task, bytes]:
    """One whose decoding takes a while, though it is a small file."""
    row = np.random.default_rng(0).integers(0, 256, (1, 10_000), np.uint8)
    data = cv2.imencode(".png", np.tile(row, (8000, 1)), (cv2.IMWRITE_PNG_COMPRESSION, 1))[1]
    return task(data.tobytes(), max_pixels=10**8, policy="off")


def test_a_new_worker_holds_the_model_that_serves_whatever_its_folder_holds_now(
    opened: Open,
    tiny_bundle: Path,
    tmp_path: Path,
    png: bytes,
) -> None:
    bundle = copy_of(tiny_bundle, tmp_path)
    engine, own = opened(bundle)
    (before,) = {reply.body for reply in replies(engine, png, 1) if isinstance(reply, Reply)}
    bundle.rename(tmp_path / "away")
    for worker in own:
        kill(worker)
    after = replies(engine, png, 6)
    assert {reply.body for reply in after if isinstance(reply, Reply)} == {before}


def test_an_idle_workers_death_costs_no_request(
    opened: Open, tiny_bundle: Path, png: bytes
) -> None:
    engine, own = opened(tiny_bundle)
    for worker in own:
        kill(worker)
    assert all(isinstance(reply, Reply) for reply in replies(engine, png, 4))


def test_a_worker_whose_service_ends_at_once_ends_quietly(tiny_bundle: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        arguments = (theirs, 1, cpu(tiny_bundle), ModelBundle.load(tiny_bundle))
        worker = processes.Process(target=work, args=arguments)
        worker.start()
    worker.join(30)
    assert worker.exitcode == 0


def test_a_bundle_that_is_not_there_is_refused_at_opening(tmp_path: Path) -> None:
    before = workers()
    with pytest.raises(BundleRefused, match="nowhere"):
        ProcessEngine(cpu(tmp_path / "nowhere"))
    assert workers() == before


def test_a_graph_that_is_cut_short_is_refused_at_opening(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = copy_of(tiny_bundle, tmp_path)
    graph = bundle / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-20])
    with pytest.raises(BundleRefused, match="sha256"):
        ProcessEngine(cpu(bundle))


def test_a_graph_that_only_a_worker_finds_broken_is_refused_at_opening(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = copy_of(tiny_bundle, tmp_path)
    graph = bundle / "model.onnx"
    graph.write_bytes(b"no graph at all")
    manifest = ModelBundle.load(tiny_bundle).manifest
    files = {"model.onnx": sha256(graph)}
    write_manifest(manifest.model_copy(update={"files": files}), bundle)
    before = workers()
    with pytest.raises(BundleRefused, match="cannot be opened"):
        ProcessEngine(cpu(bundle))
    wait_until(lambda: workers() <= before)


def test_a_closed_engine_takes_nothing_more_and_its_workers_are_gone(
    opened: Open,
    tiny_bundle: Path,
    png: bytes,
) -> None:
    engine, both = opened(tiny_bundle)
    engine.localize(task(png))
    engine.close()
    with pytest.raises(EngineClosed):
        engine.localize(task(png))
    assert [worker.exitcode for worker in both] == [0, 0]
    assert not [worker for worker in both if Path(f"/proc/{worker.pid}").exists()]


def test_closing_waits_for_what_is_at_work(
    opened: Open,
    tiny_bundle: Path,
    png: bytes,
) -> None:
    engine, both = opened(tiny_bundle)
    for worker in both:
        stop(worker)
    with ThreadPoolExecutor(2) as callers:
        try:
            at_work = callers.submit(engine.localize, task(png))
            wait_until(lambda: engine.engine._free.qsize() == 3)
            closing = callers.submit(engine.close)
            wait_until(lambda: engine.engine._closed)
            with pytest.raises(EngineClosed):
                engine.localize(task(png))
            with pytest.raises(TimeoutError):
                closing.result(0.2)
            assert not at_work.done()
        finally:
            for worker in both:
                go_on(worker)
        assert at_work.result(20).format == "PNG"
        closing.result(20)
    assert [worker.exitcode for worker in both] == [0, 0]
