"""The service as a process of its own, and sockets to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SERVE = "from service.server import serve; from service.settings import Settings; serve(Settings())"
SMALL = {"CXR_PORT": "0", "CXR_PROVIDER": "cpu", "CXR_WORKERS": "2", "CXR_THREADS": "1"}


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
        assert self.port, f"it ended: {self.lines}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            event = json.loads(line)["event"]
            if event.startswith("Uvicorn running on"):
                self.port = int(event.split()[3].rsplit(":", 1)[1])
                self._ready.set()
        self._ready.set()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of that name that it has logged."""
        lines = [json.loads(line) for line in list(self.lines)]
        return [line for line in lines if line["event"] == name]

    def stop(self) -> str:
        """Ask it to stop, and return everything it has written."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return self.written()

    def written(self) -> str:
        """Return everything that it has written; it has ended."""
        self._reader.join(10)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return "".join(self.lines) + errors


def connect(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=20)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))
