"""Under load: the event loop stays free, the queue is bounded, who hangs up makes room."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from service_helpers import GatedLocalizer, wait_until


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


async def post_and_hang_up(app: FastAPI, png: bytes, hung_up: asyncio.Event) -> list[object]:
    """Call the app as a server does whose client goes away; return what it sent."""
    sent: list[object] = []
    body = iter([{"type": "http.request", "body": png}])

    async def receive() -> dict[str, object]:
        for message in body:
            return message
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
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
        "headers": [],
        "server": ("test", 80),
        "client": ("test", 1),
    }
    await app(scope, receive, send)
    return sent
