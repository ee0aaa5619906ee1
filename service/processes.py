"""An engine of worker processes: each holds the model, and localizes one radiograph at a time."""

import asyncio
import atexit
import contextlib
import os
import socket
from dataclasses import replace
from multiprocessing import active_children, get_context
from multiprocessing.process import BaseProcess

import structlog

from localization import BundleRefused, Compute, ModelBundle
from localization.session import choose_precision
from service.engine import EngineClosed, Model, WorkFailed
from service.messages import Inbox, receive, send_soon
from service.settings import Settings
from service.task import STAGES, Reply, Task
from service.timeline import SharedTimeline
from service.uploads import Upload
from service.worker import work

log = structlog.stdlib.get_logger("service")

# A clean process that has loaded the libraries, of which workers are copies: they start at once and
# share its memory, and no thread of this one is copied with them.
processes = get_context("forkserver")
processes.set_forkserver_preload(["service.worker"])

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

    A worker that dies is replaced: only the request that it was at is lost. The event loop speaks
    to the workers itself.

    Raises:
        BundleRefused: as a worker found.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Every worker, also one that comes later, gets this very model, whatever the folder holds.
        self._bundle = _with_one_graph(ModelBundle.load(settings.model), settings)
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._closed = False
        # All begin to load before the first is waited for.
        workers = [_Worker(settings, self._bundle) for _ in range(settings.worker_count)]
        try:
            for worker in workers:
                provider, precision = worker.wait_until_loaded()
                self._idle.put_nowait(worker)
        except BaseException:
            for worker in workers:
                worker.end(kill=True)
            raise
        self.model = Model(self._bundle.manifest, provider, precision)

    async def localize(self, task: Task, upload: Upload) -> Reply:
        """Have one radiograph localized by a worker that is free; waits for one."""
        if self._closed:
            raise EngineClosed
        worker = await self._idle.get()
        try:
            try:
                reply = await worker.ask(task, upload)
            except _Gone as error:
                worker = await self._replace(worker, error)
                reply = await worker.ask(task, upload)
        except (EOFError, OSError) as error:
            worker = await self._replace(worker, error)
            raise WorkFailed("WorkerDied", []) from error
        finally:
            self._idle.put_nowait(worker)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def _replace(self, worker: "_Worker", error: Exception) -> "_Worker":
        stuck = isinstance(error, TimeoutError)
        worker.hang_up()
        exit_code = await asyncio.to_thread(worker.end, kill=stuck)
        log.error("worker stuck" if stuck else "worker died", exit_code=exit_code)
        return await asyncio.to_thread(self._load_another)

    def _load_another(self) -> "_Worker":
        worker = _Worker(self._settings, self._bundle)
        worker.wait_until_loaded()
        return worker

    def warm_up(self) -> None:
        """Nothing left to do: a worker is warm before it says that it has loaded."""

    async def close(self) -> None:
        """Wait for the workers that are at work, then end all."""
        self._closed = True
        # Who waits for a worker has come before, and gets one before.
        workers = [await self._idle.get() for _ in range(self._settings.worker_count)]
        for worker in workers:
            worker.hang_up()
            await asyncio.to_thread(worker.end)


def _with_one_graph(bundle: ModelBundle, settings: Settings) -> ModelBundle:
    precision = choose_precision(bundle, Compute(precision=settings.precision), "cpu")
    bundle.graph(precision)  # Is there one?
    return replace(bundle, contents={precision: bundle.contents[precision]})


class _Gone(Exception):
    """A worker was dead before it was asked."""


class _Worker:
    """One worker process, seen from this one."""

    def __init__(self, settings: Settings, bundle: ModelBundle) -> None:
        # What is not done when the deadline is over, no one waits for.
        self._seconds = settings.deadline_seconds
        self._file: int | None = None
        self._inbox: Inbox | None = None
        self._pipe, theirs = socket.socketpair()
        with theirs:
            self._process: BaseProcess = processes.Process(
                target=work, args=(theirs, settings, bundle), name="localize", daemon=True
            )
            self._process.start()
        # Stages go through shared memory: they are asked for while the worker is at them.
        self._stages, memory = SharedTimeline.create(STAGES)
        with contextlib.suppress(OSError):  # Where it has died already, the wait for it says so.
            socket.send_fds(self._pipe, [b"\0"], [memory])
        os.close(memory)

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

    async def ask(self, task: Task, upload: Upload) -> Reply | Exception:
        """Raises `_Gone` where the process was dead before, `EOFError` or `OSError` where it died
        of the task, or is stuck at it."""
        self._stages.clear()
        self._inbox = self._inbox or Inbox(self._pipe)
        reply: asyncio.Future[Reply | Exception] = self._inbox.next()
        # Bare values: pickle is several times as long at objects.
        choices, place = tuple(task.choices), (upload.offset, upload.length)
        message = (choices, task.request_id, task.max_pixels, task.policy, task.alone, *place)
        try:
            await send_soon(self._pipe, message, self._file_to_send(upload))
        except OSError as error:  # Closed, where a new one could not be had before.
            raise _Gone from error
        give_up = asyncio.get_running_loop().call_later(self._seconds, _give_up, reply)
        try:
            with task.timeline.following(self._stages):
                return await reply
        except BaseException:
            self.hang_up()  # What it may still say would answer another task.
            raise
        finally:
            give_up.cancel()

    def _file_to_send(self, upload: Upload) -> int | None:
        """The file of the uploads, where the worker does not have it yet: one holds them all."""
        if upload.file == self._file:
            return None
        self._file = upload.file
        return self._file

    def hang_up(self) -> None:
        """Let it hear no more, and be heard no more; from the event loop."""
        if self._inbox is not None:
            self._inbox.close()
        self._pipe.close()

    def end(self, *, kill: bool = False) -> int | None:
        """Let it end; its exit status."""
        self._pipe.close()
        if not kill:
            self._process.join(GIVEN_UP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        return self._process.exitcode


def _give_up(reply: "asyncio.Future[Reply | Exception]") -> None:
    if not reply.done():
        reply.set_exception(TimeoutError())
