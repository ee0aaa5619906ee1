"""The process: `serve` from start to stop, as a deployment sees it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from service_helpers import encode_dicom

ROOT = Path(__file__).parents[2]
SERVE = "from service.server import serve; from service.settings import Settings; serve(Settings())"


def start(**settings: str) -> "subprocess.Popen[str]":
    environment = {"PATH": os.environ["PATH"], **settings}
    return subprocess.Popen(
        [sys.executable, "-c", SERVE],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Running:
    """A serving process, its port, and all that it has written."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._ready, self._draining = threading.Event(), threading.Event()
        self.port = 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self._ready.wait(60), self.lines

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            event = json.loads(line)["event"]
            if event.startswith("Uvicorn running on"):
                self.port = int(event.split()[3].rsplit(":", 1)[1])
                self._ready.set()

    def stop(self) -> str:
        """Ask it to stop, and return everything it has written."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self._reader.join(10)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return "".join(self.lines) + errors


@pytest.fixture(scope="module")
def running(tiny_bundle: Path) -> Iterator[Running]:
    running = Running(
        start(
            CXR_MODEL=str(tiny_bundle),
            CXR_PORT="0",
            CXR_PROVIDER="cpu",
            CXR_MAX_UPLOAD_BYTES="1000000",
            CXR_DRAIN_SECONDS="1.5",
        )
    )
    yield running
    if running.process.poll() is None:
        running.stop()


def connect(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=20)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_a_client_that_sends_too_much_gets_its_answer_and_a_closed_connection(
    running: Running, framing: str
) -> None:
    total = 30_000_000
    header = (
        f"Content-Length: {total}" if framing == "content-length" else "Transfer-Encoding: chunked"
    )
    block = bytes(1_000_000)
    if framing == "chunked":
        block = b"f4240\r\n" + block + b"\r\n"
    with connect(running) as connection:
        connection.sendall(f"POST /localize HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        for _ in range(30):  # all of it, before the answer is looked at
            connection.sendall(block)
        if framing == "chunked":
            connection.sendall(b"0\r\n\r\n")
        answer = read_all(connection)  # ends only where the server closes
    head, body = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in head.lower()
    assert b"server:" not in head.lower()
    assert json.loads(body)["type"] == "/problems/upload-too-large"


def test_a_client_that_asks_first_is_refused_before_it_sends(running: Running) -> None:
    with connect(running) as connection:
        connection.sendall(
            b"POST /localize HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_from_request_to_drained_without_a_word_of_the_patient(running: Running) -> None:
    url = f"http://127.0.0.1:{running.port}"
    with httpx2.Client(base_url=url, timeout=20) as client:
        files = {"file": ("Mustermann.dcm", encode_dicom())}
        assert client.post("/localize", files=files).json()["radiograph"]["format"] == "DICOM"
        broken = {"file": ("Mustermann.dcm", encode_dicom()[:-2000])}
        assert client.post("/localize", files=broken).status_code == 422
        running.process.send_signal(signal.SIGTERM)
        draining = client.get("/readyz")
        while draining.status_code == 200:  # the server looks at its signals ten times a second
            draining = client.get("/readyz")
        assert draining.status_code == 503
    running.process.wait(30)
    written = running.stop()
    events = [json.loads(line)["event"] for line in running.lines]
    assert events.count("request") >= 2
    assert events.index("ready") < events.index("drained")
    assert "Mustermann" not in written
    assert "4711" not in written


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"CXR_MODEL": "/nowhere"}, "/nowhere"), ({"CXR_PROVIDER": "cuda"}, "cuda")],
)
def test_what_cannot_be_served_ends_the_start_with_one_line(
    tiny_bundle: Path, settings: dict[str, str], reason: str
) -> None:
    process = start(**{"CXR_MODEL": str(tiny_bundle), "CXR_PORT": "0", **settings})
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert reason in errors
    assert len(errors.strip().splitlines()) == 1
