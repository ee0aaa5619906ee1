"""Connections on which no request comes: they are closed, and no others."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from service_helpers import wait_until
from starlette.types import Receive, Scope, Send

from service import impatience
from service.protocol import DivertingProtocol

IDLE_SECONDS = 0.3
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `/slow` after three times the seconds that a connection may be idle."""
    if scope["path"] == "/slow":
        await asyncio.sleep(3 * IDLE_SECONDS)
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[uvicorn.Server]:
    monkeypatch.setattr(impatience, "IDLE_SECONDS", IDLE_SECONDS)
    config = uvicorn.Config(
        answer, port=0, http=DivertingProtocol, ws="none", lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield server
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def connection(server: uvicorn.Server) -> Iterator[socket.socket]:
    address = server.servers[0].sockets[0].getsockname()
    with socket.create_connection(address, timeout=5) as connection:
        yield connection


def ask(connection: socket.socket, request: bytes = REQUEST) -> None:
    connection.sendall(request)
    found = b""
    while not found.endswith(b"ok"):
        part = connection.recv(1024)
        assert part, "it was closed"
        found += part


@pytest.mark.parametrize("sent", [b"", b"\r\n", REQUEST[:-2]], ids=["nothing", "line", "head"])
@pytest.mark.parametrize("answers", [0, 1])
def test_a_connection_without_a_whole_head_is_closed(
    server: uvicorn.Server, connection: socket.socket, sent: bytes, answers: int
) -> None:
    for _ in range(answers):
        ask(connection)
    connection.sendall(sent)
    begun = time.monotonic()
    assert connection.recv(1024) == b""
    assert time.monotonic() - begun > IDLE_SECONDS / 2
    wait_until(lambda: not server.server_state.connections)


def test_head_and_body_of_an_answer_come_together(connection: socket.socket) -> None:
    for _ in range(3):
        connection.sendall(REQUEST)
        assert connection.recv(1024).endswith(b"\r\n\r\nok")


def test_an_answer_without_a_body_is_not_held_back(connection: socket.socket) -> None:
    connection.sendall(REQUEST.replace(b"GET", b"HEAD"))
    assert connection.recv(1024).endswith(b"\r\n\r\n")


def test_who_sends_byte_by_byte_is_given_no_more_time(connection: socket.socket) -> None:
    connection.sendall(b"GET /")
    connection.setblocking(False)
    begun = time.monotonic()
    while not is_closed(connection):
        assert time.monotonic() - begun < 10 * IDLE_SECONDS, "it is still open"
        connection.send(b"a")
        time.sleep(IDLE_SECONDS / 10)


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False


def test_a_request_under_way_and_what_follows_on_it_are_answered(
    connection: socket.socket,
) -> None:
    ask(connection, REQUEST.replace(b"/ ", b"/slow ", 1))
    for _ in range(10):
        ask(connection)
        time.sleep(IDLE_SECONDS / 2)
