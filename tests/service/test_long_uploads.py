"""Long bodies, which the server writes where workers read them, without parsing what it writes."""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from service_helpers import encode, wait_until
from serving import Running, connect, start

MEGABYTE = 1_000_000
MOST_HELD = 8 * MEGABYTE

PNG = encode("PNG")


def long(size: int = 3 * MEGABYTE) -> bytes:
    """The PNG, and behind its end what no one reads."""
    return PNG + bytes(size - len(PNG))


def request(body: bytes) -> bytes:
    head = (
        f"POST /localize?heatmaps=none HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def answer(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """The status and the document of one answer, and no byte of the next."""
    with connection.makefile("rb", buffering=0) as file:
        status, length = int(file.readline().split()[1]), 0
        while (line := file.readline()) != b"\r\n":
            name, _, value = line.decode().partition(":")
            length = int(value) if name.lower() == "content-length" else length
        body = b""
        while len(body) < length:
            body += file.read(length - len(body)) or b""
    return status, json.loads(body)


def ask(running: Running, body: bytes) -> tuple[int, dict[str, Any]]:
    with connect(running) as connection:
        connection.sendall(request(body))
        return answer(connection)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving(bundle: Path, **more: str) -> Iterator[Running]:
    settings = {
        "CXR_PORT": "0",
        "CXR_PROVIDER": "cpu",
        "CXR_WORKERS": "2",
        "CXR_THREADS": "1",
        "CXR_MAX_UPLOAD_BYTES": str(MOST_HELD),
        "CXR_MAX_HELD_BYTES": str(MOST_HELD),
        "CXR_UPLOAD_SECONDS": "3",
    }
    running = Running(start(**settings, CXR_MODEL=str(bundle), **more))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def running(tiny_bundle: Path) -> Iterator[Running]:
    yield from serving(tiny_bundle)


@pytest.fixture(scope="module")
def running_tls(
    tiny_bundle: Path, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "chain.pem")
    yield from serving(
        tiny_bundle,
        CXR_TLS_CERTIFICATE=str(folder / "chain.pem"),
        CXR_TLS_KEY=str(folder / "key.pem"),
    )


def lengths(running: Running) -> list[int]:
    return [line["bytes"] for line in running.events("request") if "bytes" in line]


def assert_keeps_its_requests_apart(running: Running, connection: socket.socket) -> None:
    """Short, long in pieces, and both with the next one right behind."""
    connection.sendall(request(PNG))
    status, alone = answer(connection)
    assert status == 200
    bodies = [long(), long(2 * MEGABYTE), PNG, long(), PNG]
    sent = request(bodies[0])
    for start_of_piece in range(0, len(sent), 700_001):
        connection.sendall(sent[start_of_piece : start_of_piece + 700_001])
        time.sleep(0.02)
    connection.sendall(b"".join(map(request, bodies[1:])))
    ids = {alone.pop("id")}
    for _ in bodies:
        status, found = answer(connection)
        assert status == 200
        ids.add(found.pop("id"))
        assert found == alone
    assert len(ids) == 1 + len(bodies)
    wait_until(lambda: lengths(running)[-len(bodies) :] == [len(body) for body in bodies])


def test_long_and_short_bodies_take_turns_on_a_connection(running: Running) -> None:
    with connect(running) as connection:
        assert_keeps_its_requests_apart(running, connection)


def test_long_and_short_bodies_take_turns_on_an_encrypted_connection(
    running_tls: Running, authority: trustme.CA
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        connect(running_tls) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        assert_keeps_its_requests_apart(running_tls, connection)


def abandoned(running: Running) -> int:
    return sum(line["outcome"] == "abandoned" for line in running.events("request"))


def test_who_hangs_up_in_the_middle_of_a_long_body_holds_nothing(running: Running) -> None:
    for before in range(2):
        with connect(running) as connection:
            connection.sendall(request(long(7 * MEGABYTE))[: 6 * MEGABYTE])
        wait_until(lambda: abandoned(running) > before)  # noqa: B023 - called at once
    assert ask(running, long(7 * MEGABYTE))[0] == 200


def test_a_long_body_that_finds_no_room_is_turned_away_and_the_others_are_not(
    running: Running,
) -> None:
    first = request(long(6 * MEGABYTE))
    with connect(running) as connection:
        connection.sendall(first[: 5 * MEGABYTE])
        time.sleep(0.2)
        status, problem = ask(running, long(6 * MEGABYTE))
        assert (status, problem["type"]) == (503, "/problems/too-much-held")
        connection.sendall(first[5 * MEGABYTE :])
        assert answer(connection)[0] == 200
    assert ask(running, long(7 * MEGABYTE))[0] == 200


def test_a_long_body_that_does_not_come_to_its_end_is_given_up(running: Running) -> None:
    with connect(running) as connection:
        connection.sendall(request(long(7 * MEGABYTE))[: 6 * MEGABYTE])
        status, problem = answer(connection)
    assert (status, problem["type"]) == (408, "/problems/upload-too-slow")
    wait_until(lambda: ask(running, long(7 * MEGABYTE))[0] == 200)
