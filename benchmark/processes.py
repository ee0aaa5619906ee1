"""Processes: helpers that stay and take tasks through a pipe, and what /proc says of any."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

_SPAWN = multiprocessing.get_context("spawn")


class Helper:
    """A process that makes its work once, then does a task at a time.

    Args:
        make: called in the process, with the arguments; returns what does a task.
    """

    def __init__(self, make: Callable[..., Callable[[Any], Any]], *arguments: Any) -> None:
        self._pipe, other = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(other, make, arguments), daemon=True)
        self._process.start()
        # So that the pipe ends with the process.
        other.close()
        self._pipe.recv()

    @property
    def pid(self) -> int:
        """The process' id."""
        assert self._process.pid is not None
        return self._process.pid

    def begin(self, task: Any) -> None:
        """Hand over a task."""
        self._pipe.send(task)

    def busy(self, seconds: float) -> bool:
        """Whether the task is still under way after so many seconds."""
        return not self._pipe.poll(seconds)

    def result(self) -> Any:
        """Wait for the task's result. Raises `EOFError` where the process died of it."""
        return self._pipe.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join()


def _work(
    pipe: Connection, make: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]
) -> None:
    work = make(*arguments)
    pipe.send("made")
    with suppress(EOFError):
        while True:
            pipe.send(work(pipe.recv()))


def tree(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield pid
    for child in children(pid):
        yield from tree(child)


def children(pid: int) -> Iterator[int]:
    """The processes that one has started."""
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        found = ""
        # A thread may end before it is asked.
        with suppress(FileNotFoundError, ProcessLookupError):
            found = file.read_text()
        yield from map(int, found.split())


def memory(pids: list[int]) -> float:
    """Proportional set size of process trees, in MB: shared pages are divided among sharers."""
    return sum(_pss(process) for pid in pids for process in tree(pid)) / 1e6


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process tree has used."""
    ticks = 0
    for process in tree(pid):
        # After the name, which may hold blanks: the 12th and 13th fields are utime and stime.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _pss(pid: int) -> int:
    """In bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup says no Pss")
