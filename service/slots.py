"""Slots: memory that all processes share, one for each task that is in the workers' hands."""

import os
import time
from mmap import mmap

from service.task import STAGES
from service.timeline import SharedTimeline

SERIAL, WORKER, TAKEN, TIMES = range(4)
NUMBERS = TIMES + 2 * len(STAGES)
"""Of each slot: its task's serial number, who has taken it and when, its stages' times."""


class Slot:
    """What the main process and a worker know of one task: who has it, and how far it is.

    Args:
        number: its place among all.
        numbers: `NUMBERS` of 8 bytes.
    """

    def __init__(self, number: int, numbers: "memoryview[float]") -> None:
        self.number = number
        self.stages = SharedTimeline(numbers[TIMES:], STAGES)
        self._numbers = numbers

    def begin(self, serial: int) -> None:
        """Make it that of a task that no worker has taken yet."""
        self.stages.clear()
        self._numbers[WORKER] = 0
        self._numbers[SERIAL] = serial

    def end(self) -> None:
        """Make it no one's: a worker that comes for the task now leaves it."""
        self._numbers[SERIAL] = 0

    def take(self, serial: int, worker: int) -> bool:
        """Note that a worker has the task; False where it was given up meanwhile."""
        if self._numbers[SERIAL] != serial:
            return False
        self._numbers[TAKEN] = time.perf_counter()
        self._numbers[WORKER] = worker
        return True

    @property
    def worker(self) -> int:
        """The number of the worker that has taken the task; 0 where none has."""
        return int(self._numbers[WORKER])

    def seconds_at_work(self) -> float:
        """For how long the worker that has taken the task has had it."""
        return time.perf_counter() - self._numbers[TAKEN]


def create_slots(count: int) -> tuple[list[Slot], int]:
    """Slots, and their memory's file, which is the caller's to send and to close."""
    file = os.memfd_create("slots")
    os.ftruncate(file, 8 * NUMBERS * count)
    return open_slots(file), file


def open_slots(file: int) -> list[Slot]:
    """The slots that another process has created."""
    numbers = memoryview(mmap(file, 0)).cast("d")
    begins = range(0, len(numbers), NUMBERS)
    return [Slot(place, numbers[at : at + NUMBERS]) for place, at in enumerate(begins)]
