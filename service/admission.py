"""The bounded queue: as many radiographs at work as there are workers, a few more waiting."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import ClientDisconnect

from service.problems import Refused

T = TypeVar("T")

BUSY = "Every worker is busy and the queue is full; try again in a moment."

INERTIA = 0.9
"""How much of the mean time of a job each further job leaves as it was."""


class Admission:
    """Runs jobs on ``workers`` threads, first come, first served.

    ``max_waiting`` more may wait; the rest are refused. A job that is not done ``seconds`` after
    it came is given up. ``on_start`` is told, in the worker's thread, the seconds that a job
    waited. Everything else belongs to the event loop.

    A job that is alone may take the whole machine: nothing else is admitted when it begins.
    """

    def __init__(
        self,
        workers: int,
        max_waiting: int,
        seconds: float,
        on_start: Callable[[float], object],
    ) -> None:
        self._workers = workers
        self._places = workers + max_waiting
        self._seconds = seconds
        self._on_start = on_start
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="localize")
        self._admitted = 0
        self._mean_seconds = 0.0

    @property
    def waiting(self) -> int:
        """The number of jobs that are admitted and wait for a worker."""
        return max(0, self._admitted - self._workers)

    def require_place(self) -> None:
        """Raise `Refused` where every place is taken."""
        if self._admitted >= self._places:
            raise Refused(
                "queue-full",
                BUSY,
                {"Retry-After": str(self._seconds_until_empty())},
            )

    async def run(self, job: Callable[[bool], T], hung_up: Awaitable[None]) -> T:
        """Return what ``job`` returns, computed by a worker and told whether it is alone.

        Raises `Refused` where every place is taken, or the time is over; `ClientDisconnect` where
        ``hung_up`` completes first. A job that still waits then loses its place. One that has
        begun cannot be stopped, and keeps it until it ends.
        """
        watch = asyncio.ensure_future(hung_up)
        try:
            self.require_place()
            return await self._await(self._submit(job), watch)
        finally:
            watch.cancel()

    def _submit(self, job: Callable[[bool], T]) -> "Future[T]":
        loop = asyncio.get_running_loop()
        # Emptied when the job is done or withdrawn: the pool's queue would keep its upload.
        box = [job]

        def leave(_: "Future[T]") -> None:
            box.clear()
            loop.call_soon_threadsafe(self._leave)

        self._admitted += 1
        queued = self._pool.submit(self._work, box, time.perf_counter())
        queued.add_done_callback(leave)
        return queued

    async def _await(self, queued: "Future[T]", watch: "asyncio.Future[None]") -> T:
        result = asyncio.wrap_future(queued)
        try:
            await asyncio.wait(
                (result, watch), timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if result.done():
                return result.result()
            if watch.done():
                raise ClientDisconnect
            raise Refused(
                "too-late",
                f"The radiograph was not localized within {self._seconds:g} seconds; the service "
                "is busy, try again in a moment.",
                {"Retry-After": str(self._seconds_until_empty())},
            )
        finally:
            result.cancel()

    def _leave(self) -> None:
        self._admitted -= 1

    def _work(self, box: list[Callable[[bool], T]], submitted: float) -> T:
        started = time.perf_counter()
        self._on_start(started - submitted)
        try:
            return box[0](self._admitted <= 1)
        finally:
            self._learn(time.perf_counter() - started)

    def _learn(self, seconds: float) -> None:
        mean = self._mean_seconds or seconds
        self._mean_seconds = INERTIA * mean + (1 - INERTIA) * seconds

    def _seconds_until_empty(self) -> int:
        """After how many seconds all that is admitted now should be done; at least 1."""
        return max(1, math.ceil(self._mean_seconds * self._admitted / self._workers))

    async def drain(self) -> None:
        """Let the running jobs end, and accept no more."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
