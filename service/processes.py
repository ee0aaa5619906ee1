"""An engine of worker processes: each holds the model, and localizes one radiograph at a time."""

import atexit
import mmap
import os
import queue
import signal
import socket
import struct
import threading
from dataclasses import replace
from multiprocessing import active_children, get_context, reduction
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import structlog

from localization import BundleRefused, Localizer, ModelBundle, RadiographRefused
from service.engine import EngineClosed, Model, WorkFailed, load_localizer
from service.logs import configure_logs, where
from service.settings import Settings
from service.task import Reply, Task, localize

log = structlog.stdlib.get_logger("service")

# A clean process that has loaded the libraries, of which workers are copies: they start at once and
# share its memory, and no thread of this one is copied with them.
processes = get_context("forkserver")
processes.set_forkserver_preload(["service.processes"])

KEPT_BYTES = 16 * 1024**2
"""Memory that a worker's upload may keep for the next one; more is given back."""

STUCK_SECONDS = 60
"""How long a worker may be at one radiograph before it is given up."""

GIVEN_UP_SECONDS = 10.0
"""How long a worker that is to end is waited for."""


@atexit.register
def _end_all() -> None:
    """Run before multiprocessing's own handler, which waits for workers that ignore its SIGTERM."""
    for child in active_children():
        if child.name == "localize":
            child.kill()


class ProcessEngine:
    """Hands radiographs to worker processes. See `service.engine.Engine`.

    A worker that dies is replaced: only the request that it was at is lost.

    Raises:
        BundleRefused: as a worker found.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        bundle = ModelBundle.load(settings.model)
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._users, self._closed = 0, False
        self._changed = threading.Condition()
        # All begin to load before the first is waited for.
        workers = [_Worker(settings) for _ in range(settings.worker_count)]
        for worker in workers:
            provider, precision = worker.wait_until_loaded()
            self._idle.put(worker)
        self.model = Model(bundle.manifest, provider, precision)

    def localize(self, task: Task) -> Reply:
        """Have one radiograph localized by a worker that is free; waits for one."""
        with self._changed:
            if self._closed:
                raise EngineClosed
            self._users += 1
        try:
            return self._ask(task)
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def _ask(self, task: Task) -> Reply:
        worker = self._idle.get()
        try:
            reply = worker.ask(task)
        except (EOFError, OSError) as error:
            log.error("worker died", exit_code=worker.end())
            worker = _Worker(self._settings)
            worker.wait_until_loaded()
            raise WorkFailed("WorkerDied", []) from error
        finally:
            self._idle.put(worker)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def warm_up(self) -> None:
        """Nothing left to do: a worker is warm before it says that it has loaded."""

    def close(self) -> None:
        """Wait for the workers that are at work, then end all."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._users == 0)
        while not self._idle.empty():
            self._idle.get().end()


class _Worker:
    """One worker process, seen from this one."""

    def __init__(self, settings: Settings) -> None:
        self._pipe, theirs = processes.Pipe()
        self._process: BaseProcess = processes.Process(
            target=work, args=(theirs, settings), name="localize", daemon=True
        )
        self._process.start()
        theirs.close()
        # Uploads go through shared memory: through the pipe they would take six times as long.
        memory = os.memfd_create("upload")
        os.ftruncate(memory, settings.max_upload_bytes)
        self._upload = mmap.mmap(memory, settings.max_upload_bytes)
        reduction.send_handle(self._pipe, memory, self._process.pid)
        os.close(memory)

    def wait_until_loaded(self) -> tuple[str, str]:
        """Provider and precision of what it has loaded; raises what it could not load for."""
        try:
            loaded = self._pipe.recv()
        except (EOFError, OSError):
            loaded = BundleRefused(f"A worker ended while it loaded, status {self.end()}.")
        if isinstance(loaded, Exception):
            self.end()
            raise loaded
        self._limit_waiting()
        provider, precision = loaded
        return provider, precision

    def _limit_waiting(self) -> None:
        """Let `recv` fail after `STUCK_SECONDS`; asking `poll` each time would cost 0.2 ms."""
        with socket.socket(fileno=os.dup(self._pipe.fileno())) as pipe:
            limit = struct.pack("ll", STUCK_SECONDS, 0)
            pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)

    def ask(self, task: Task) -> Reply | Exception:
        """Raises `EOFError` or `OSError` where the process is gone, or stuck."""
        if self._upload.closed:
            raise EOFError  # It could not be replaced when it died; another try.
        length = len(task.data)
        self._upload[:length] = task.data
        self._pipe.send((replace(task, data=b""), length))
        reply: Reply | Exception = self._pipe.recv()
        if length > KEPT_BYTES:
            self._upload.madvise(mmap.MADV_REMOVE)
        return reply

    def end(self) -> int | None:
        """Let it end; its exit status."""
        self._pipe.close()
        self._upload.close()
        self._process.join(GIVEN_UP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        return self._process.exitcode


def work(pipe: "Connection[Any, Any]", settings: Settings) -> None:
    """The life of a worker process: load, say so, and answer until the other end is closed."""
    # Who stops the service stops its main process, which ends its workers when they are done.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    configure_logs(settings)
    memory = reduction.recv_handle(pipe)
    upload = mmap.mmap(memory, settings.max_upload_bytes)
    os.close(memory)
    try:
        localizer = load_localizer(settings)
        _warm_up(localizer)
    except Exception as error:
        pipe.send(error)
        return
    pipe.send((localizer.provider, localizer.precision))
    try:
        while True:
            task, length = pipe.recv()
            pipe.send(_answer(replace(task, data=upload[:length]), localizer))
    except (EOFError, OSError):
        return


def _warm_up(localizer: Localizer) -> None:
    side = localizer.bundle.manifest.side
    for alone in (True, False):
        localizer.infer(np.zeros((1, 1, side, side), np.uint8), alone=alone)


def _answer(task: Task, localizer: Localizer) -> Reply | Exception:
    try:
        return localize(task, localizer, localizer.infer)
    except RadiographRefused as refusal:
        return refusal
    except Exception as error:
        # Not the error itself, whose message may quote the file.
        return WorkFailed(type(error).__name__, where(error))
