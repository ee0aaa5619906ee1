"""Rests of refused uploads: a few are read at a time, and no one is kept waiting."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest
from serving import SMALL, Running, connect, read_all, start
from uvicorn.protocols.http.flow_control import FlowControl

from service import draining
from service.draining import PLACES, Draining

LENGTH = 900_000
REFUSED = f"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: {LENGTH}\r\n\r\n".encode()
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Transport:
    """Knows whether it is read from."""

    is_read = True

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


def flows(count: int) -> tuple[list[Transport], list[FlowControl]]:
    transports = [Transport() for _ in range(count)]
    return transports, [FlowControl(cast(asyncio.Transport, each)) for each in transports]


def test_a_few_are_read_at_a_time_first_come_first_served() -> None:
    asyncio.run(_a_few_are_read_at_a_time())


async def _a_few_are_read_at_a_time() -> None:
    turns = Draining()
    transports, waiting = flows(PLACES + 3)
    for flow in waiting:
        turns.begin(flow)
    assert [each.is_read for each in transports] == [True] * PLACES + [False] * 3
    assert [turns.waits(flow) for flow in waiting] == [False] * PLACES + [True] * 3
    turns.end(waiting[PLACES])  # It is gone before its turn has come.
    turns.end(waiting[0])
    assert transports[PLACES + 1].is_read
    assert not transports[PLACES + 2].is_read
    for flow in waiting:
        turns.end(flow)
    transports, [another] = flows(1)
    turns.begin(another)
    assert transports[0].is_read
    turns.end(another)


def test_who_sends_slowly_keeps_no_one_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "TURN_SECONDS", 0.05)
    asyncio.run(_who_sends_slowly())


async def _who_sends_slowly() -> None:
    turns = Draining()
    transports, waiting = flows(PLACES + 1)
    for flow in waiting:
        turns.begin(flow)
    assert not transports[-1].is_read
    await asyncio.sleep(0.2)
    assert all(each.is_read for each in transports)
    for flow in waiting:
        turns.end(flow)


@pytest.fixture(scope="module")
def running(tiny_bundle: Path) -> Iterator[Running]:
    running = Running(start(CXR_MODEL=str(tiny_bundle), **SMALL))
    yield running
    running.stop()


def refused_then_asked(running: Running) -> list[bytes]:
    with connect(running) as connection:
        connection.sendall(REFUSED + bytes(LENGTH) + LAST)
        return [answer[:3] for answer in read_all(connection).split(b"HTTP/1.1 ")[1:]]


def test_all_who_are_refused_at_once_may_ask_again(running: Running) -> None:
    with ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(refused_then_asked, running) for _ in range(24)]
        assert [each.result() for each in asked] == [[b"404", b"200"]] * 24


def test_who_is_refused_and_sends_no_more_holds_up_no_one(running: Running) -> None:
    with ExitStack() as stack:
        for _ in range(2 * PLACES):
            stack.enter_context(connect(running)).sendall(REFUSED + bytes(1000))
        begun = time.monotonic()
        assert refused_then_asked(running) == [b"404", b"200"]
        assert time.monotonic() - begun < 4
    assert refused_then_asked(running) == [b"404", b"200"]


def test_whose_upload_has_come_whole_waits_for_no_turn(running: Running) -> None:
    whole = REFUSED.replace(str(LENGTH).encode(), b"100") + bytes(100)
    with ExitStack() as stack:
        for _ in range(40):  # Whose turns take four seconds together.
            stack.enter_context(connect(running)).sendall(REFUSED + bytes(1000))
        begun = time.monotonic()
        with connect(running) as connection:
            for _ in range(3):
                connection.sendall(whole)
                assert connection.recv(1 << 16).startswith(b"HTTP/1.1 404")
            connection.sendall(LAST)
            assert read_all(connection).startswith(b"HTTP/1.1 200")
        assert time.monotonic() - begun < 2
