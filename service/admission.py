"""The bounded queue: as many radiographs at work as there are workers, a few more waiting."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import ClientDisconnect

from service.problems import Refused

T = TypeVar("T")

RETRY_AFTER_SECONDS = 1


class Admission:
    """Runs jobs on ``workers`` threads; ``max_waiting`` more may wait, the rest are refused.

    ``on_start`` is told, in the worker's thread, the seconds that a job waited. Everything
    else belongs to the event loop.
    """

    def __init__(self, workers: int, max_waiting: int, on_start: Callable[[float], object]) -> None:
        self._workers = workers
        self._places = workers + max_waiting
        self._on_start = on_start
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="localize")
        self._admitted = 0

    @property
    def waiting(self) -> int:
        """The number of jobs that are admitted and wait for a worker."""
        return max(0, self._admitted - self._workers)

    async def run(self, job: Callable[[], T], hung_up: Awaitable[None]) -> T:
        """Return what ``job`` returns, computed by a worker.

        Where ``hung_up`` completes while the job waits, the job loses its place and
        `ClientDisconnect` is raised. Raises `Refused` where every place is taken.
        """
        watch = asyncio.ensure_future(hung_up)
        try:
            if self._admitted >= self._places:
                raise Refused(
                    "queue-full",
                    "Every worker is busy and the queue is full; try again in a moment.",
                    {"Retry-After": str(RETRY_AFTER_SECONDS)},
                )
            return await self._admit(job, watch)
        finally:
            watch.cancel()

    async def _admit(self, job: Callable[[], T], watch: "asyncio.Future[None]") -> T:
        self._admitted += 1
        queued = self._pool.submit(self._work, job, time.perf_counter())
        result = asyncio.wrap_future(queued)
        try:
            await asyncio.wait((result, watch), return_when=asyncio.FIRST_COMPLETED)
            if _withdrawn(queued):
                raise ClientDisconnect
            # A job that has begun cannot be stopped: its place is taken until it ends.
            return await result
        finally:
            result.cancel()
            self._admitted -= 1

    def _work(self, job: Callable[[], T], submitted: float) -> T:
        self._on_start(time.perf_counter() - submitted)
        return job()

    async def drain(self) -> None:
        """Let the running jobs end, and accept no more."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)


def _withdrawn(queued: "Future[T]") -> bool:
    """Take a job out of the queue, if it is still there."""
    return not queued.done() and queued.cancel()
