"""A worker process: it holds the model, and localizes one radiograph at a time."""

import contextlib
import os
import signal
import socket

import cv2

from localization import Localizer, ModelBundle, RadiographRefused
from service.engine import WorkFailed, load_localizer, warm_up_sessions
from service.logs import configure_logs, where
from service.memory import keep_freed_memory
from service.messages import send, take_over
from service.settings import Settings
from service.slots import Slot, open_slots
from service.task import Choices, Reply, Task, localize
from service.uploads import Reader


def work(pipe: socket.socket, number: int, settings: Settings, bundle: ModelBundle) -> None:
    """The life of a worker: load, say so, and do tasks until their other end is closed.

    Args:
        pipe: what it says goes there; the tasks' socket and the slots' memory come from there.
        number: its own; no two workers have the same one.
        settings: of the service.
        bundle: what it serves.
    """
    # Who stops the service stops its main process, which ends its workers when they are done.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    configure_logs(settings)
    keep_freed_memory()
    cv2.setNumThreads(1)  # The cores are the other workers'.
    with contextlib.suppress(EOFError, OSError):
        _, files, *_ = socket.recv_fds(pipe, 1, 2)
        if not files:
            return  # The other end was closed at once.
        tasks, memory = socket.socket(fileno=files[0]), files[1]
        slots = open_slots(memory)
        os.close(memory)
        try:
            localizer = load_localizer(settings, bundle)
            warm_up_sessions(localizer)
        except Exception as error:
            send(pipe, error)
            return
        send(pipe, (localizer.provider, localizer.precision))
        _Worker(number, slots, localizer).serve(tasks, pipe)


class _Worker:
    def __init__(self, number: int, slots: list[Slot], localizer: Localizer) -> None:
        self._number = number
        self._slots = slots
        self._localizer = localizer
        self._uploads: Reader | None = None

    def serve(self, tasks: socket.socket, pipe: socket.socket) -> None:
        """Do one task after another. Raises `EOFError` or `OSError` once there is no other end."""
        while True:
            (place, serial, *message), file = take_over(tasks)
            uploads = self._reader(file)
            slot = self._slots[place]
            if not slot.take(serial, self._number):
                continue
            choices, request_id, max_pixels, policy, alone, offset, length = message
            task = Task(Choices(*choices), request_id, max_pixels, policy, alone, slot.stages)
            send(pipe, (serial, self._answer(task, uploads.read(offset, length))))

    def _reader(self, file: int) -> Reader:
        """Of the file of uploads, which is the same one all the while."""
        if self._uploads is not None and os.path.sameopenfile(file, self._uploads.file):
            os.close(file)
        else:
            self._uploads = Reader(file)
        return self._uploads

    def _answer(self, task: Task, data: memoryview) -> Reply | Exception:
        try:
            return localize(task, data, self._localizer, self._localizer.infer)
        except RadiographRefused as refusal:
            return refusal
        except Exception as error:
            # Not the error itself, whose message may quote the file.
            return WorkFailed(type(error).__name__, where(error))
