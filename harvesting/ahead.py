"""Work ahead of who asks for its results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Given], Result], given: Iterable[Given], threads: int
) -> Iterator[Result]:
    """Results in order, a few of them worked out ahead, in threads."""
    remaining = iter(given)
    with ThreadPoolExecutor(threads) as pool:
        try:
            waiting: deque[Future[Result]] = deque(
                pool.submit(work, one) for one in islice(remaining, threads + 1)
            )
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(work, one) for one in islice(remaining, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)
