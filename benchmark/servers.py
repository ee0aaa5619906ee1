"""Servers as processes of their own, started before and stopped after all is measured."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Self

from client import Client

START_SECONDS, STOP_SECONDS = 120.0, 15.0
LOOK_SECONDS = 0.02
"""After how long it is asked again whether it is ready."""

SERVICE = ("-m", "commands", "serve")
LITSERVE = ("-m", "benchmark.litserve_app")


class Server:
    """A server on a free port of this machine, ready.

    Args:
        arguments: of Python; CXR_PORT says where to listen, all other settings are the defaults.

    Raises:
        RuntimeError: it ends, or does not get ready.
    """

    def __init__(self, arguments: tuple[str, ...]) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = Client(self.url)
        self.ready_after: float
        """Seconds from the start of the process until it was ready."""
        defaults = {k: v for k, v in os.environ.items() if not k.startswith("CXR_")}
        begun = time.perf_counter()
        # A session of its own: what it starts can be stopped with it.
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**defaults, "CXR_PORT": str(self.port)},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait_until_ready(" ".join(arguments))
        except BaseException:
            self.stop()
            raise
        self.ready_after = time.perf_counter() - begun

    @property
    def pid(self) -> int:
        """The id of the process that was started."""
        return self._process.pid

    def pause(self) -> None:
        """Take the processor away from it and all it has started."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Give the processor back."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it: politely first, then with all it has started."""
        self.client.close()
        self.resume()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _wait_until_ready(self, name: str) -> None:
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up and self._process.poll() is None:
            if self.client.ready():
                return
            time.sleep(LOOK_SECONDS)
        raise RuntimeError(f"python {name} does not get ready")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
