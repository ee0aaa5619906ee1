"""Worker processes that may die: whoever waits for one hears of it."""

import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import BoundedSemaphore, Lock, Thread
from typing import Any

# A clean process that has loaded the libraries, of which workers are copies: they start at once,
# and no thread or file of this one is copied with them.
_PROCESSES = get_context("forkserver")
_PROCESSES.set_forkserver_preload(["harvesting.local"])


class WorkFailed(RuntimeError):
    """Work that raised what no one expected; it says where, and not the error's own words, which
    may quote a file. Work that knows why it cannot go on raises it itself, with a sentence."""


class WorkerDied(RuntimeError):
    """A process that ended without an answer."""


class WorkerLate(RuntimeError):
    """A process that was killed because it took too long."""


@dataclass(frozen=True, slots=True)
class _Failure:
    sentence: str


class Worker:
    """A process that makes its work once, then does what it is sent. It ends with its maker.

    Args:
        make: called in the process, with the arguments; returns what does a task, in threads.
        threads: how many tasks it does at once.
    """

    def __init__(
        self, make: Callable[..., Callable[[Any], Any]], *arguments: Any, threads: int = 1
    ):
        self.pipe, theirs = _PROCESSES.Pipe()
        # Not a daemon: it may have a process of its own.
        self._process = _PROCESSES.Process(target=_work, args=(theirs, make, arguments, threads))
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int | None:
        """The process' id."""
        return self._process.pid

    def send(self, task: Any) -> None:
        """Hand over a task. That it has died, `receive` says."""
        with suppress(OSError):
            self.pipe.send(task)

    def receive(self, seconds: float | None = None) -> Any:
        """Wait for the result of a task, without an end or for so many seconds.

        Raises:
            WorkerDied: the process has ended.
            WorkerLate: it has not, and no result came; it was killed.
            WorkFailed: the work raised something.
        """
        try:
            if seconds is not None and not self.pipe.poll(seconds):
                self.kill()
                raise WorkerLate(f"a worker gave no answer within {seconds:.0f} seconds")
            result = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.kill()
            raise WorkerDied(f"a worker ended, exit status {self._process.exitcode}") from error
        if isinstance(result, _Failure):
            raise WorkFailed(result.sentence)
        return result

    def kill(self) -> None:
        """End it, whatever it is at."""
        self.pipe.close()
        self._process.kill()
        self._process.join()


def _work(
    pipe: "Connection[Any, Any]",
    make: Callable[..., Callable[[Any], Any]],
    arguments: tuple[Any, ...],
    threads: int,
) -> None:
    # Who stops a run stops the process that leads it; the end of the pipe says so here.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    answering, free = Lock(), BoundedSemaphore(threads)

    def answer(result: Any) -> None:
        with answering, suppress(OSError):
            pipe.send(result)

    def do(task: Any) -> None:
        try:
            answer(work(task))
        except Exception as error:
            answer(_Failure(say(error)))
        finally:
            free.release()

    try:
        work = make(*arguments)
        with suppress(EOFError, OSError):
            while True:
                task = pipe.recv()
                free.acquire()
                if threads == 1:
                    do(task)
                else:
                    Thread(target=do, args=(task,), daemon=True).start()
    except Exception as error:
        answer(_Failure(say(error)))


def say(error: Exception) -> str:
    """An error's kind and place, what was noted on it, and the system's own words."""
    if isinstance(error, WorkFailed):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
    words = getattr(error, "strerror", None)
    return "; ".join([place, *([words] if words else []), *getattr(error, "__notes__", ())])
