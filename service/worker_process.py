"""A worker process, seen from the main process."""

import contextlib
import socket
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

from localization import BundleRefused, ModelBundle
from service.messages import Inbox, receive
from service.settings import Settings
from service.worker import work

# A clean process that has loaded the libraries, of which workers are copies: they start at once and
# share its memory, and no thread of this one is copied with them.
processes = get_context("forkserver")
processes.set_forkserver_preload(["service.worker"])

NAME = "localize"

LOADING_SECONDS = 120
"""How long a worker may take to load."""

GIVEN_UP_SECONDS = 10.0
"""How long a worker that is to end is waited for."""


class WorkerProcess:
    """One worker, which loads at once.

    Args:
        number: its own; no two workers have the same one.
        settings: of the service.
        bundle: what it serves.
        files: of the tasks' socket and of the slots' memory.
    """

    def __init__(
        self, number: int, settings: Settings, bundle: ModelBundle, files: tuple[int, int]
    ) -> None:
        self.number = number
        self.killed = False
        self._inbox: Inbox | None = None
        self._pipe, theirs = socket.socketpair()
        with theirs:
            self._process: BaseProcess = processes.Process(
                target=work, args=(theirs, number, settings, bundle), name=NAME, daemon=True
            )
            self._process.start()
        with contextlib.suppress(OSError):  # Where it has died already, the wait for it says so.
            socket.send_fds(self._pipe, [b"\0"], files)

    def wait_until_loaded(self) -> tuple[str, str]:
        """Provider and precision of what it has loaded; raises what it could not load for."""
        self._pipe.settimeout(LOADING_SECONDS)
        try:
            loaded = receive(self._pipe)
        except (EOFError, OSError):
            raise BundleRefused(f"A worker ended while it loaded, status {self.end()}.") from None
        if isinstance(loaded, Exception):
            self.end()
            raise loaded
        self._pipe.setblocking(False)
        provider, precision = loaded
        return provider, precision

    def listen(self, take: Callable[[Any], None], ended: Callable[["WorkerProcess"], None]) -> None:
        """Have the event loop listen to it from now on: to what it says, and for its end."""
        if self._inbox is None:
            self._inbox = Inbox(self._pipe, take, lambda: ended(self))

    def hang_up(self) -> None:
        """Listen to it no more."""
        if self._inbox is not None:
            self._inbox.close()

    def kill(self) -> None:
        """End it at once, whatever it is at."""
        self.killed = True
        self._process.kill()

    def end(self, *, kill: bool = False) -> int | None:
        """Let it end, where there are no tasks for it any more; its exit status."""
        self._pipe.close()
        if not kill:
            self._process.join(GIVEN_UP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        return self._process.exitcode
