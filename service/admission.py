"""The bounded queue: as many radiographs in the workers' hands as they take, a few more waiting."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect

from service.problems import Refused

T = TypeVar("T")

BUSY = "Every worker is busy and the queue is full; try again in a moment."

INERTIA = 0.9
"""How much of the mean time of a job each further job leaves as it was."""


class Admission:
    """Runs ``workers`` jobs at a time, first come, first served.

    ``max_waiting`` more may wait; the rest are refused. A job that is not done ``seconds`` after
    it came is given up.

    A job that is alone may take the whole machine: nothing else is admitted when it begins.
    """

    def __init__(self, workers: int, max_waiting: int, seconds: float) -> None:
        self._workers = workers
        self._places = workers + max_waiting
        self._seconds = seconds
        self._turns = asyncio.Semaphore(workers)
        self._jobs: set[asyncio.Task[Any]] = set()
        """All that are admitted."""
        self._begun: set[asyncio.Task[Any]] = set()
        self._mean_seconds = 0.0

    def begin_ahead(self, jobs: int) -> None:
        """From now on, let so many of those that wait begin: the workers' hands are free for them.

        They are as those at work but for `waiting`: who hangs up cannot stop them any more.
        """
        for _ in range(jobs):
            self._turns.release()

    @property
    def waiting(self) -> int:
        """The number of jobs that are admitted and wait for a worker."""
        return max(0, len(self._jobs) - self._workers)

    def require_place(self) -> None:
        """Raise `Refused` where every place is taken."""
        if len(self._jobs) >= self._places:
            raise Refused(
                "queue-full",
                BUSY,
                {"Retry-After": str(self.seconds_until_empty())},
            )

    async def run(self, job: Callable[[bool], Awaitable[T]], hung_up: Awaitable[None]) -> T:
        """Return what ``job`` returns, which is told whether it is alone.

        Raises `Refused` where every place is taken, or the time is over; `ClientDisconnect` where
        ``hung_up`` completes first. A job that still waits then loses its place. One that has
        begun cannot be stopped, and keeps it until it ends.
        """
        watch = asyncio.ensure_future(hung_up)
        try:
            self.require_place()
            return await self._await(self._admit(job), watch)
        finally:
            watch.cancel()

    def _admit(self, job: Callable[[bool], Awaitable[T]]) -> "asyncio.Task[T]":
        admitted = asyncio.create_task(self._work(job))
        self._jobs.add(admitted)
        admitted.add_done_callback(self._leave)
        return admitted

    async def _work(self, job: Callable[[bool], Awaitable[T]]) -> T:
        async with self._turns:
            task = asyncio.current_task()
            assert task is not None
            self._begun.add(task)
            return await job(len(self._jobs) <= 1)

    def _leave(self, job: "asyncio.Task[T]") -> None:
        self._jobs.discard(job)
        self._begun.discard(job)
        if not job.cancelled():
            job.exception()  # Seen, also where no one waits for it any more.

    async def _await(self, job: "asyncio.Task[T]", watch: "asyncio.Future[None]") -> T:
        try:
            await asyncio.wait(
                (job, watch), timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if job.done():
                return job.result()
            if watch.done():
                raise ClientDisconnect
            raise Refused(
                "too-late",
                f"The radiograph was not localized within {self._seconds:g} seconds; the service "
                "is busy, try again in a moment.",
                {"Retry-After": str(self.seconds_until_empty())},
            )
        finally:
            self._withdraw(job)

    def _withdraw(self, job: "asyncio.Task[Any]") -> None:
        if job not in self._begun:
            job.cancel()
            self._jobs.discard(job)

    def learn(self, seconds: float) -> None:
        """Take into account for how long a worker was at a job."""
        mean = self._mean_seconds or seconds
        self._mean_seconds = INERTIA * mean + (1 - INERTIA) * seconds

    def seconds_until_empty(self) -> int:
        """After how many seconds all that is admitted now should be done; at least 1.

        It is by the deadline at the latest: what is not done then is given up.
        """
        needed = min(self._seconds, self._mean_seconds * len(self._jobs) / self._workers)
        return max(1, math.ceil(needed))

    async def drain(self) -> None:
        """Let the running jobs end, and accept no more."""
        self._places = 0
        for job in tuple(self._jobs):
            self._withdraw(job)
        if self._jobs:
            await asyncio.wait(self._jobs)
