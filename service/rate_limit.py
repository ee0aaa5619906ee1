"""How often one caller may ask: a token bucket each."""

import time
from collections import OrderedDict
from collections.abc import Callable

MOST_CALLERS = 10_000
"""How many callers are remembered; further ones make it forget who asked longest ago."""


class RateLimit:
    """``per_minute`` requests for each caller, ``burst`` of them at once.

    A bucket is one number, the time at which it is full again (the generic cell rate algorithm):
    nothing has to fill it, and a bucket that is full is the same as none.
    """

    def __init__(
        self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds_per_token = 60 / per_minute
        self._burst = burst
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def seconds_to_wait(self, caller: str) -> float:
        """Take a token and return 0, or return the seconds until there is one, and take none."""
        now = self._clock()
        full_at = max(now, self._full_at.get(caller, now))
        wait = full_at - now - (self._burst - 1) * self._seconds_per_token
        if wait > 0:
            return wait
        self._full_at[caller] = full_at + self._seconds_per_token
        self._full_at.move_to_end(caller)
        if len(self._full_at) > MOST_CALLERS:
            self._full_at.popitem(last=False)
        return 0.0
