"""A worker process: it holds the model, and localizes one radiograph at a time."""

import contextlib
import signal
import socket

import cv2

from localization import Localizer, ModelBundle, RadiographRefused
from service.engine import WorkFailed, load_localizer, warm_up_sessions
from service.logs import configure_logs, where
from service.memory import keep_freed_memory
from service.messages import receive_with_file, send
from service.settings import Settings
from service.task import STAGES, Choices, Reply, Task, localize
from service.timeline import SharedTimeline, Timeline
from service.uploads import Reader


def work(pipe: socket.socket, settings: Settings, bundle: ModelBundle) -> None:
    """The life of a worker: load, say so, and answer until the other end is closed."""
    # Who stops the service stops its main process, which ends its workers when they are done.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    configure_logs(settings)
    keep_freed_memory()
    cv2.setNumThreads(1)  # The cores are the other workers'.
    with contextlib.suppress(EOFError, OSError):
        _, files, *_ = socket.recv_fds(pipe, 1, 1)
        if not files:
            return  # The other end was closed at once.
        stages = SharedTimeline.open(files[0], STAGES)
        try:
            localizer = load_localizer(settings, bundle)
            warm_up_sessions(localizer)
        except Exception as error:
            send(pipe, error)
            return
        send(pipe, (localizer.provider, localizer.precision))
        _serve(pipe, localizer, stages)


def _serve(pipe: socket.socket, localizer: Localizer, stages: Timeline) -> None:
    """Answer one task after another. Raises `EOFError` or `OSError` once there is no other end."""
    while True:
        message, file = receive_with_file(pipe)
        choices, request_id, max_pixels, policy, alone, offset, length = message
        if file is not None:
            uploads = Reader(file)
        task = Task(Choices(*choices), request_id, max_pixels, policy, alone, stages)
        send(pipe, _answer(task, uploads.read(offset, length), localizer))


def _answer(task: Task, data: memoryview, localizer: Localizer) -> Reply | Exception:
    try:
        return localize(task, data, localizer, localizer.infer)
    except RadiographRefused as refusal:
        return refusal
    except Exception as error:
        # Not the error itself, whose message may quote the file.
        return WorkFailed(type(error).__name__, where(error))
