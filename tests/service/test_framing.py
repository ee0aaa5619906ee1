"""Where a request ends, and what becomes of the bytes behind it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_helpers import encode
from serving import SMALL, Running, connect, read_all, start

PNG = encode("PNG")
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CLOSE = ("Connection: close",)
UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "upgradE: h2c", "HTTP2-Settings: AAEAAEAA")


@pytest.fixture(scope="module")
def running(tiny_bundle: Path) -> Iterator[Running]:
    running = Running(start(CXR_MODEL=str(tiny_bundle), **SMALL))
    yield running
    running.stop()


def request(*headers: str, body: bytes = PNG, path: str = "/localize?heatmaps=none") -> bytes:
    head = (f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join((*head, "\r\n")).encode() + body


def form(*headers: str) -> bytes:
    boundary = "Content-Type: multipart/form-data; boundary=-"
    part = b'---\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    return request(boundary, *headers, body=part + PNG + b"\r\n-----\r\n")


def statuses(running: Running, *pieces: bytes) -> list[int]:
    """Of all answers until the connection is closed."""
    with connect(running) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.02)
        answers = read_all(connection).split(b"HTTP/1.1 ")[1:]
    return [int(answer[:3]) for answer in answers]


@pytest.mark.parametrize("last", [request(*CLOSE), form(*CLOSE)], ids=["bare", "form"])
def test_what_follows_the_last_request_costs_it_no_answer(running: Running, last: bytes) -> None:
    assert statuses(running, last + b"too long") == [200]
    assert statuses(running, request() + LAST + GET) == [200, 200]
    assert statuses(running, request() + last + GET) == [200, 200]
    assert statuses(running, request(), last + b"too long") == [200, 200]


@pytest.mark.parametrize("asked", [request(*UPGRADE), form(*UPGRADE)], ids=["bare", "form"])
def test_who_asks_for_another_protocol_is_answered_by_this_one(
    running: Running, asked: bytes
) -> None:
    head, body = asked[: -len(PNG)], asked[-len(PNG) :]
    assert statuses(running, asked + LAST) == [200, 200]
    assert statuses(running, head, body, LAST) == [200, 200]
    assert statuses(running, asked, asked, LAST) == [200, 200, 200]


@pytest.mark.parametrize("path", ["/localize", "/nowhere"])
def test_a_body_is_never_taken_for_requests(running: Running, path: str) -> None:
    hidden = request(*UPGRADE, body=GET, path=path)
    first = 415 if path == "/localize" else 404
    assert statuses(running, hidden + LAST) == [first, 200]
    for end_of_piece in range(40, len(hidden), 20):
        found = statuses(running, hidden[:end_of_piece], hidden[end_of_piece:] + LAST)
        assert found in ([first, 200], [400], [404]), end_of_piece


@pytest.mark.parametrize("path", ["/localize?heatmaps=no", "/nowhere"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_who_is_refused_early_and_wants_no_other_answer_gets_this_one(
    running: Running, path: str, version: str
) -> None:
    long = request(*CLOSE, body=bytes(9_000_000), path=path).replace(b"1.1", version.encode(), 1)
    assert statuses(running, long) == [404 if path == "/nowhere" else 422]
    assert statuses(running, request(*CLOSE, path=path)) == statuses(running, long)
    assert statuses(running, LAST) == [200]
