"""An engine of worker processes: each holds the model, and localizes one radiograph at a time."""

import atexit
import contextlib
import math
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

import cv2
import structlog

from localization import BundleRefused, Compute, Localizer, ModelBundle, RadiographRefused
from localization.session import choose_precision
from service.engine import EngineClosed, Model, WorkFailed, load_localizer, warm_up_sessions
from service.logs import configure_logs, where
from service.settings import Settings
from service.task import STAGES, Reply, Task, localize
from service.timeline import SharedTimeline, Timeline

log = structlog.stdlib.get_logger("service")

# A clean process that has loaded the libraries, of which workers are copies: they start at once and
# share its memory, and no thread of this one is copied with them.
processes = get_context("forkserver")
processes.set_forkserver_preload(["service.processes"])

KEPT_BYTES = 16 * 1024**2
"""Memory that a worker's upload may keep for the next one; more is given back."""

LOADING_SECONDS = 120
"""How long a worker may take to load."""

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
        # Every worker, also one that comes later, gets this very model, whatever the folder holds.
        self._bundle = _with_one_graph(ModelBundle.load(settings.model), settings)
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._users, self._closed = 0, False
        self._changed = threading.Condition()
        # All begin to load before the first is waited for.
        workers = [_Worker(settings, self._bundle) for _ in range(settings.worker_count)]
        for worker in workers:
            provider, precision = worker.wait_until_loaded()
            self._idle.put(worker)
        self.model = Model(self._bundle.manifest, provider, precision)

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
            try:
                reply = worker.ask(task)
            except _Gone as error:
                worker = self._replace(worker, error)
                reply = worker.ask(task)
        except (EOFError, OSError) as error:
            worker = self._replace(worker, error)
            raise WorkFailed("WorkerDied", []) from error
        finally:
            self._idle.put(worker)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _replace(self, worker: "_Worker", error: Exception) -> "_Worker":
        stuck = isinstance(error, BlockingIOError)
        log.error("worker stuck" if stuck else "worker died", exit_code=worker.end(kill=stuck))
        worker = _Worker(self._settings, self._bundle)
        worker.wait_until_loaded()
        return worker

    def warm_up(self) -> None:
        """Nothing left to do: a worker is warm before it says that it has loaded."""

    def close(self) -> None:
        """Wait for the workers that are at work, then end all."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._users == 0)
        while not self._idle.empty():
            self._idle.get().end()


def _with_one_graph(bundle: ModelBundle, settings: Settings) -> ModelBundle:
    precision = choose_precision(bundle, Compute(precision=settings.precision), "cpu")
    bundle.graph(precision)  # Is there one?
    return replace(bundle, contents={precision: bundle.contents[precision]})


class _Gone(Exception):
    """A worker was dead before it was asked."""


class _Worker:
    """One worker process, seen from this one."""

    def __init__(self, settings: Settings, bundle: ModelBundle) -> None:
        self._seconds = math.ceil(settings.deadline_seconds)
        self._pipe, theirs = processes.Pipe()
        self._limit_waiting(LOADING_SECONDS)
        self._process: BaseProcess = processes.Process(
            target=work, args=(theirs, settings, bundle), name="localize", daemon=True
        )
        self._process.start()
        theirs.close()
        # Uploads go through shared memory, which is faster than the pipe; stages, for they are
        # asked for while the worker is at them.
        self._upload = self._share("upload", settings.max_upload_bytes)
        self._stages = SharedTimeline(self._share("stages", SharedTimeline.size(STAGES)), STAGES)

    def _share(self, name: str, size: int) -> mmap.mmap:
        memory = os.memfd_create(name)
        os.ftruncate(memory, size)
        with contextlib.suppress(OSError):  # Where it has died already, the wait for it says so.
            reduction.send_handle(self._pipe, memory, self._process.pid)
        shared = mmap.mmap(memory, size)
        os.close(memory)
        return shared

    def wait_until_loaded(self) -> tuple[str, str]:
        """Provider and precision of what it has loaded; raises what it could not load for."""
        try:
            loaded = self._pipe.recv()
        except (EOFError, OSError):
            raise BundleRefused(f"A worker ended while it loaded, status {self.end()}.") from None
        if isinstance(loaded, Exception):
            self.end()
            raise loaded
        # What is not done when the deadline is over, no one waits for.
        self._limit_waiting(self._seconds)
        provider, precision = loaded
        return provider, precision

    def _limit_waiting(self, seconds: int) -> None:
        """Let `recv` fail with `BlockingIOError` after some seconds."""
        with socket.socket(fileno=os.dup(self._pipe.fileno())) as pipe:
            limit = struct.pack("ll", seconds, 0)
            pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)

    def ask(self, task: Task) -> Reply | Exception:
        """Raises `_Gone` where the process was dead before, `EOFError` or `OSError` where it died
        of the task, or is stuck at it."""
        length = len(task.data)
        self._stages.clear()
        try:
            self._upload[:length] = task.data
            self._pipe.send((replace(task, data=b"", timeline=Timeline()), length))
        except (OSError, ValueError) as error:  # Closed, where a new one could not be had before.
            raise _Gone from error
        with task.timeline.following(self._stages):
            reply: Reply | Exception = self._pipe.recv()
        if length > KEPT_BYTES:
            self._upload.madvise(mmap.MADV_REMOVE)
        return reply

    def end(self, *, kill: bool = False) -> int | None:
        """Let it end; its exit status."""
        self._pipe.close()
        self._upload.close()
        if not kill:
            self._process.join(GIVEN_UP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        return self._process.exitcode


def work(pipe: "Connection[Any, Any]", settings: Settings, bundle: ModelBundle) -> None:
    """The life of a worker process: load, say so, and answer until the other end is closed."""
    # Who stops the service stops its main process, which ends its workers when they are done.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    configure_logs(settings)
    cv2.setNumThreads(1)  # The cores are the other workers'.
    with contextlib.suppress(EOFError, OSError):
        upload = _received(pipe, settings.max_upload_bytes)
        stages = SharedTimeline(_received(pipe, SharedTimeline.size(STAGES)), STAGES)
        try:
            localizer = load_localizer(settings, bundle)
            warm_up_sessions(localizer)
        except Exception as error:
            pipe.send(error)
            return
        pipe.send((localizer.provider, localizer.precision))
        while True:
            task, length = pipe.recv()
            pipe.send(_answer(replace(task, data=upload[:length], timeline=stages), localizer))


def _received(pipe: "Connection[Any, Any]", size: int) -> mmap.mmap:
    """The memory that the other end shares."""
    memory = reduction.recv_handle(pipe)
    shared = mmap.mmap(memory, size)
    os.close(memory)
    return shared


def _answer(task: Task, localizer: Localizer) -> Reply | Exception:
    try:
        return localize(task, localizer, localizer.infer)
    except RadiographRefused as refusal:
        return refusal
    except Exception as error:
        # Not the error itself, whose message may quote the file.
        return WorkFailed(type(error).__name__, where(error))
