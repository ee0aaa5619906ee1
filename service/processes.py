"""An engine of worker processes: each holds the model, and localizes one radiograph at a time."""

import asyncio
import atexit
import os
from dataclasses import replace
from itertools import count
from multiprocessing import active_children

import structlog

from localization import Compute, ModelBundle
from localization.session import choose_precision
from service.engine import EngineClosed, Model, WorkFailed
from service.messages import hand_over, task_sockets
from service.settings import Settings
from service.slots import Slot, create_slots
from service.task import Reply, Task
from service.uploads import Upload
from service.worker_process import NAME, WorkerProcess

log = structlog.stdlib.get_logger("service")

AGAIN_SECONDS = 1.0
"""After how long a worker that could not be had is tried again."""

SOON_SECONDS = 0.1
"""After how long it is looked again whether a worker has just taken a task."""

FULL_SECONDS = 0.001
"""After how long a task for which there was no room is handed over again."""


@atexit.register
def _end_all() -> None:
    """Run before multiprocessing's own handler, which waits for workers that ignore its SIGTERM."""
    for child in active_children():
        if child.name == NAME:
            child.kill()


class ProcessEngine:
    """Hands radiographs to worker processes. See `service.engine.Engine`.

    Each is taken by the first worker that has time; as many as there are workers are handed over
    ahead, so that none of them has to wait for the event loop. A worker that dies is replaced:
    only the request that it was at is lost.

    Raises:
        BundleRefused: as a worker found.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Every worker, also one that comes later, gets this very model, whatever the folder holds.
        self._bundle = _with_one_graph(ModelBundle.load(settings.model), settings)
        self.ahead = settings.worker_count
        self._tasks, self._taken = task_sockets()
        self._slots, self._memory = create_slots(settings.worker_count + self.ahead)
        self._free: asyncio.Queue[Slot] = asyncio.Queue()
        for slot in self._slots:
            self._free.put_nowait(slot)
        self._handed_over: dict[int, _HandedOver] = {}
        """By serial number."""
        self._serials, self._numbers = count(1), count(1)
        self._replacements: set[asyncio.Task[None]] = set()
        self._listening = self._closed = False
        # All begin to load before the first is waited for.
        workers: list[WorkerProcess] = []
        try:
            for _ in range(settings.worker_count):
                workers.append(self._start_worker())
            for worker in workers:
                provider, precision = worker.wait_until_loaded()
        except BaseException:
            for worker in workers:
                worker.end(kill=True)
            self._close_files()
            raise
        self._workers = {worker.number: worker for worker in workers}
        self.model = Model(self._bundle.manifest, provider, precision)

    async def localize(self, task: Task, upload: Upload) -> Reply:
        """Have one radiograph localized by the first worker that has time."""
        if self._closed:
            raise EngineClosed
        if not self._listening:
            self._listen()
        slot = await self._free.get()
        try:
            reply = await self._ask(slot, task, upload)
        finally:
            self._free.put_nowait(slot)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _listen(self) -> None:
        self._listening = True
        for worker in self._workers.values():
            worker.listen(self._take_reply, self._worker_ended)

    async def _ask(self, slot: Slot, task: Task, upload: Upload) -> Reply | Exception:
        serial = next(self._serials)
        slot.begin(serial)
        handed_over = self._handed_over[serial] = _HandedOver(slot)
        # Bare values: pickle is several times as long at objects.
        work = (tuple(task.choices), task.request_id, task.max_pixels, task.policy, task.alone)
        message = (slot.number, serial, *work, upload.offset, upload.length)
        # What is not done when the deadline is over, no one waits for.
        self._watch(handed_over, self._settings.deadline_seconds)
        try:
            while not handed_over.reply.done() and not hand_over(self._tasks, message, upload.file):
                await asyncio.sleep(FULL_SECONDS)
            with task.timeline.following(slot.stages):
                return await handed_over.reply
        finally:
            handed_over.watch.cancel()
            slot.end()
            del self._handed_over[serial]

    def _take_reply(self, message: tuple[int, Reply | Exception]) -> None:
        serial, reply = message
        if serial in self._handed_over:
            self._handed_over[serial].succeed(reply)

    def _watch(self, handed_over: "_HandedOver", seconds: float) -> None:
        loop = asyncio.get_running_loop()
        handed_over.watch = loop.call_later(seconds, self._look_after, handed_over)

    def _look_after(self, handed_over: "_HandedOver") -> None:
        """End the worker that is at a task for too long, or give up one that none has taken."""
        slot = handed_over.slot
        if handed_over.reply.done():
            return  # Whoever asked is about to be told.
        if not slot.worker:
            self._withdraw(handed_over)
        elif (left := self._settings.deadline_seconds - slot.seconds_at_work()) > 0:
            self._watch(handed_over, left)
        elif slot.worker in self._workers:
            self._workers[slot.worker].kill()
        else:
            self._watch(handed_over, SOON_SECONDS)  # It has only just been loaded.

    def _withdraw(self, handed_over: "_HandedOver") -> None:
        """Have no worker take a task any more; if none was just about to, it is given up."""
        if handed_over.withdrawn:
            handed_over.fail("NoWorker")
        else:
            handed_over.withdrawn = True
            handed_over.slot.end()
            self._watch(handed_over, SOON_SECONDS)

    def _worker_ended(self, worker: WorkerProcess) -> None:
        del self._workers[worker.number]
        for handed_over in self._handed_over.values():
            if handed_over.slot.worker == worker.number:
                handed_over.fail("WorkerDied")
        replacement = asyncio.create_task(self._replace(worker))
        self._replacements.add(replacement)
        replacement.add_done_callback(self._replacements.discard)

    async def _replace(self, worker: WorkerProcess) -> None:
        exit_code = await asyncio.to_thread(worker.end, kill=True)
        log.error("worker stuck" if worker.killed else "worker died", exit_code=exit_code)
        while not self._closed or self._handed_over:
            try:
                another = await asyncio.to_thread(self._load_worker)
            except Exception as error:
                log.error("no worker can be had; it is tried again", reason=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                another.listen(self._take_reply, self._worker_ended)
                self._workers[another.number] = another
                return

    def _start_worker(self) -> WorkerProcess:
        files = (self._taken.fileno(), self._memory)
        return WorkerProcess(next(self._numbers), self._settings, self._bundle, files)

    def _load_worker(self) -> WorkerProcess:
        worker = self._start_worker()
        worker.wait_until_loaded()
        return worker

    def warm_up(self) -> None:
        """Nothing left to do: a worker is warm before it says that it has loaded."""

    async def close(self) -> None:
        """Wait for what is handed over, then end all workers."""
        self._closed = True
        # Who waits for a slot has come before, and gets one before.
        for _ in self._slots:
            await self._free.get()
        if self._replacements:
            await asyncio.wait(self._replacements)
        for worker in self._workers.values():
            worker.hang_up()
        self._close_files()  # After that there are no tasks for a worker, and it ends.
        for worker in self._workers.values():
            await asyncio.to_thread(worker.end)

    def _close_files(self) -> None:
        self._tasks.close()
        self._taken.close()
        os.close(self._memory)


class _HandedOver:
    """A task in the workers' hands."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.reply: asyncio.Future[Reply | Exception] = asyncio.get_running_loop().create_future()
        self.watch: asyncio.TimerHandle
        self.withdrawn = False

    def succeed(self, reply: Reply | Exception) -> None:
        """Let the worker's reply be the task's."""
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, name: str) -> None:
        """Let it have failed for a reason of that name."""
        self.succeed(WorkFailed(name, []))


def _with_one_graph(bundle: ModelBundle, settings: Settings) -> ModelBundle:
    precision = choose_precision(bundle, Compute(precision=settings.precision), "cpu")
    bundle.graph(precision)  # Is there one?
    return replace(bundle, contents={precision: bundle.contents[precision]})
