"""Under load: the event loop stays free, the queue is bounded, who hangs up makes room."""

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from service_helpers import GatedLocalizer, wait_until
from starlette.requests import ClientDisconnect

from service.admission import Admission
from service.app import create_app
from service.problems import Refused
from service.settings import Settings
from service.threads import ThreadEngine

Receive = Callable[[], Awaitable[dict[str, Any]]]


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def post(client: TestClient, png: bytes) -> Response:
    return client.post("/localize", content=png)


def occupy(
    callers: ThreadPoolExecutor, client: TestClient, localizer: GatedLocalizer, png: bytes
) -> "Future[Response]":
    """Send a radiograph whose inference does not end until the gate opens."""
    localizer.close()
    first = callers.submit(post, client, png)
    assert localizer.entered.acquire(timeout=20)
    return first


def waiting(client: TestClient) -> float:
    line = next(
        line
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("cxr_queue_depth ")
    )
    return float(line.split()[1])


def test_probes_are_answered_while_a_radiograph_is_at_work(
    client: TestClient, localizer: GatedLocalizer, callers: ThreadPoolExecutor, png: bytes
) -> None:
    first = occupy(callers, client, localizer, png)
    assert client.get("/healthz").status_code == 200
    assert not first.done()
    localizer.gate.set()
    assert first.result(20).status_code == 200


def test_a_full_queue_turns_requests_away_until_it_has_room(
    client: TestClient, localizer: GatedLocalizer, callers: ThreadPoolExecutor, png: bytes
) -> None:
    first = occupy(callers, client, localizer, png)
    second = callers.submit(post, client, png)
    wait_until(lambda: waiting(client) == 1)

    third = post(client, png)
    assert third.status_code == 503
    assert third.headers["content-type"] == "application/problem+json"
    assert third.json()["type"] == "/problems/queue-full"
    assert int(third.headers["retry-after"]) >= 1

    localizer.gate.set()
    assert first.result(20).status_code == second.result(20).status_code == 200
    assert post(client, png).status_code == 200


def test_who_hangs_up_while_waiting_frees_the_place(
    app: FastAPI,
    client: TestClient,
    localizer: GatedLocalizer,
    callers: ThreadPoolExecutor,
    png: bytes,
) -> None:
    first = occupy(callers, client, localizer, png)
    hung_up = asyncio.Event()
    abandoned = callers.submit(client.portal.call, post_and_hang_up, app, png, hung_up)
    wait_until(lambda: waiting(client) == 1)

    client.portal.call(hung_up.set)
    assert abandoned.result(20) == []
    assert waiting(client) == 0
    localizer.gate.set()
    assert first.result(20).status_code == 200


def test_who_hangs_up_while_at_work_leaves_at_once_and_the_place_follows(
    localizer: GatedLocalizer, callers: ThreadPoolExecutor, png: bytes
) -> None:
    with serving(localizer, max_waiting=0) as (app, client):
        localizer.close()
        hung_up = asyncio.Event()
        abandoned = callers.submit(client.portal.call, post_and_hang_up, app, png, hung_up)
        assert localizer.entered.acquire(timeout=20)
        client.portal.call(hung_up.set)
        assert abandoned.result(20) == []

        assert post(client, png).status_code == 503
        localizer.gate.set()
        wait_until(lambda: post(client, png).status_code == 200)


def test_who_waits_too_long_is_told_and_frees_the_place(
    localizer: GatedLocalizer, callers: ThreadPoolExecutor, png: bytes
) -> None:
    with serving(localizer, max_waiting=1, deadline_seconds=0.3) as (app, client):
        first = occupy(callers, client, localizer, png)
        for _ in range(2):  # the second one takes the place that the first one has freed
            assert_too_late(post(client, png))
            assert waiting(client) == 0
        localizer.gate.set()
        assert_too_late(first.result(20))
        client.portal.call(app.state.lifecycle.admission.drain)
        assert not localizer.entered.acquire(blocking=False)  # who had given up was not inferred


def test_who_is_at_work_too_long_is_told_and_keeps_the_place_until_the_end(
    localizer: GatedLocalizer, callers: ThreadPoolExecutor, png: bytes
) -> None:
    with serving(localizer, max_waiting=0, deadline_seconds=0.3) as (_, client):
        first = occupy(callers, client, localizer, png)
        assert_too_late(first.result(20))
        assert post(client, png).json()["type"] == "/problems/queue-full"
        localizer.gate.set()
        wait_until(lambda: post(client, png).status_code == 200)


def assert_too_late(response: Response) -> None:
    assert response.status_code == 504
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "/problems/too-late"
    assert "0.3 seconds" in response.json()["detail"]
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("durations", "max_waiting", "retry_after"),
    [
        ([3.0], 0, 3),  # two at work, two workers
        ([3.0], 1, 5),
        ([3.0], 4, 9),
        ([3.0, 13.0], 4, 12),  # one that was slower than usual makes the mean 4
        ([0.01], 4, 1),
        ([], 4, 1),
    ],
)
def test_a_full_queue_says_when_what_it_holds_will_be_done(
    durations: list[float], max_waiting: int, retry_after: int
) -> None:
    async def told() -> str:
        admission = Admission(2, max_waiting, 20)
        for seconds in durations:
            admission.learn(seconds)
        async with occupied(admission, 2 + max_waiting):
            with pytest.raises(Refused) as refusal:
                admission.require_place()
        assert refusal.value.slug == "queue-full"
        assert refusal.value.headers is not None
        return refusal.value.headers["Retry-After"]

    assert asyncio.run(told()) == str(retry_after)


def test_it_learns_from_answers_how_long_a_worker_is_at_a_radiograph(
    app: FastAPI, client: TestClient, png: bytes
) -> None:
    admission = app.state.lifecycle.admission
    assert admission._mean_seconds == 0
    begun = time.perf_counter()
    assert post(client, png).status_code == 200
    assert 0 < admission._mean_seconds < time.perf_counter() - begun


def test_some_of_those_that_wait_begin_ahead() -> None:
    async def scenario() -> None:
        admission = Admission(2, 4, 20)
        admission.begin_ahead(1)
        async with occupied(admission, 5) as begun:
            assert len(begun) == 3
            assert admission.waiting == 3
            admission.require_place()
        assert len(begun) == 5

    asyncio.run(scenario())


@contextlib.asynccontextmanager
async def occupied(admission: Admission, jobs: int) -> AsyncIterator[list[bool]]:
    """Jobs that end with the block; each that has begun, told whether it is alone."""
    gate, begun = asyncio.Event(), []

    async def job(alone: bool) -> None:
        begun.append(alone)
        await gate.wait()

    held = [asyncio.create_task(admission.run(job, never())) for _ in range(jobs)]
    for _ in range(3):  # all of them begin
        await asyncio.sleep(0)
    try:
        yield begun
    finally:
        gate.set()
        await asyncio.gather(*held)
        await admission.drain()


async def never() -> None:
    await asyncio.Event().wait()


def test_a_full_queue_refuses_before_it_reads_the_upload(
    app: FastAPI,
    client: TestClient,
    localizer: GatedLocalizer,
    callers: ThreadPoolExecutor,
    png: bytes,
) -> None:
    first = occupy(callers, client, localizer, png)
    second = callers.submit(post, client, png)
    wait_until(lambda: waiting(client) == 1)

    async def receive() -> dict[str, Any]:
        pytest.fail("it reads an upload that it will not take")

    for headers in ({"content-length": str(len(png))}, {"transfer-encoding": "chunked"}):
        status, answered = outcome(client.portal.call(call, app, receive, headers))
        assert status == 503
        assert int(answered["retry-after"]) >= 1
    localizer.gate.set()
    assert first.result(20).status_code == second.result(20).status_code == 200


@pytest.mark.parametrize("declared", [True, False])
def test_uploads_that_would_hold_too_much_memory_together_are_turned_away(
    localizer: GatedLocalizer, callers: ThreadPoolExecutor, png: bytes, declared: bool
) -> None:
    with serving(
        localizer, max_waiting=4, max_upload_bytes=len(png), max_held_bytes=len(png) * 3 // 2
    ) as (app, client):
        upload = Upload(png, declared)
        first = callers.submit(client.portal.call, upload.post, app)
        assert upload.under_way.wait(20)
        for _ in range(3):
            later = Upload(png, declared)
            later.go_on.set()
            status, headers = outcome(client.portal.call(later.post, app))
            assert status == 503
            assert int(headers["retry-after"]) >= 1
        refused = post(client, png)
        assert refused.json()["type"] == "/problems/too-much-held"

        client.portal.call(upload.go_on.set)
        assert outcome(first.result(20))[0] == 200
        for _ in range(3):
            again = Upload(png, declared)
            again.go_on.set()
            assert outcome(client.portal.call(again.post, app))[0] == 200


def test_who_is_turned_away_for_memory_is_told_when_what_is_admitted_should_be_done(
    localizer: GatedLocalizer, callers: ThreadPoolExecutor, png: bytes
) -> None:
    with serving(localizer, max_upload_bytes=len(png), max_held_bytes=len(png)) as (app, client):
        app.state.lifecycle.admission.learn(7.0)
        first = occupy(callers, client, localizer, png)
        refused = post(client, png)
        assert refused.json()["type"] == "/problems/too-much-held"
        assert refused.headers["retry-after"] == "7"
        localizer.gate.set()
        assert first.result(20).status_code == 200


def test_who_declares_much_and_sends_nothing_keeps_no_one_out(
    localizer: GatedLocalizer, callers: ThreadPoolExecutor, png: bytes
) -> None:
    with serving(localizer, max_waiting=4, max_upload_bytes=len(png), max_held_bytes=len(png)) as (
        app,
        client,
    ):
        idle = [Upload(b"", True, declared=len(png)) for _ in range(4)]
        held = [callers.submit(client.portal.call, upload.post, app) for upload in idle]
        assert all(upload.under_way.wait(20) for upload in idle)
        assert post(client, png).status_code == 200
        for upload in idle:
            client.portal.call(upload.go_on.set)
        assert [outcome(each.result(20))[0] for each in held] == [400] * 4  # empty


def test_an_upload_that_does_not_come_is_given_up(
    localizer: GatedLocalizer, callers: ThreadPoolExecutor, png: bytes
) -> None:
    with serving(localizer, upload_seconds=0.2) as (app, client):
        upload = Upload(png, True)
        sent = callers.submit(client.portal.call, upload.post, app)
        client.portal.call(asyncio.sleep, 0.4)
        client.portal.call(upload.go_on.set)
        assert outcome(sent.result(20))[0] == 408
        assert post(client, png).status_code == 200


def test_who_hangs_up_leaves_no_upload_behind() -> None:
    left: weakref.WeakSet[Job] = weakref.WeakSet()

    async def scenario() -> int:
        gate = asyncio.Event()
        admission = Admission(1, 4, 60)
        first = asyncio.create_task(admission.run(lambda alone: gate.wait(), never()))
        for _ in range(3):
            gone = asyncio.get_running_loop().create_future()
            waits = asyncio.create_task(run_and_forget(admission, gone, left))
            await asyncio.sleep(0.01)
            gone.set_result(None)
            await asyncio.wait([waits], timeout=20)
        gc.collect()
        count = len(left)
        gate.set()
        await first
        await admission.drain()
        return count

    assert asyncio.run(scenario()) == 0


class Job:
    """A job that can be told to be gone."""

    async def __call__(self, alone: bool) -> None:
        """Do nothing."""


async def run_and_forget(
    admission: Admission, gone: "asyncio.Future[None]", left: "weakref.WeakSet[Job]"
) -> None:
    job = Job()
    left.add(job)
    with contextlib.suppress(ClientDisconnect):
        await admission.run(job, gone)


class Upload:
    """An upload whose second half a test can hold back."""

    def __init__(self, data: bytes, says_length: bool, declared: int | None = None) -> None:
        half = len(data) * 4 // 5
        self._parts = [data[:half], data[half:]]
        length = len(data) if declared is None else declared
        self._headers = {"content-length": str(length)} if says_length else {}
        self.under_way = threading.Event()
        self.go_on = asyncio.Event()

    async def post(self, app: FastAPI) -> list[dict[str, Any]]:
        return await call(app, self._receive, self._headers)

    async def _receive(self) -> dict[str, Any]:
        if not self._parts:
            await never()
        if len(self._parts) == 1:
            self.under_way.set()
            await self.go_on.wait()
        part = self._parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self._parts)}


@contextmanager
def serving(localizer: GatedLocalizer, **more: Any) -> Iterator[tuple[FastAPI, TestClient]]:
    """An app with one worker, and a client of it."""
    settings = Settings(workers=1, **more)
    app = create_app(settings, engine=ThreadEngine(localizer, settings))
    with TestClient(app) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        try:
            yield app, client
        finally:
            localizer.gate.set()


async def post_and_hang_up(
    app: FastAPI, png: bytes, hung_up: asyncio.Event
) -> list[dict[str, Any]]:
    """Call the app as a server does whose client goes away; return what it sent."""
    body = iter([{"type": "http.request", "body": png}])

    async def receive() -> dict[str, Any]:
        for message in body:
            return message
        await hung_up.wait()
        return {"type": "http.disconnect"}

    return await call(app, receive, {})


async def call(app: FastAPI, receive: Receive, headers: Mapping[str, str]) -> list[dict[str, Any]]:
    """Post to the app as a server does; return what it sent."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/localize",
        "raw_path": b"/localize",
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "server": ("test", 80),
        "client": ("test", 1),
    }
    await app(scope, receive, send)  # type: ignore[arg-type]
    return sent


def outcome(sent: list[dict[str, Any]]) -> tuple[int, dict[str, str]]:
    """The status and the headers of what an app sent."""
    headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers
