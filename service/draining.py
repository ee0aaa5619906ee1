"""What is still to come of uploads that are answered already: a few are read at a time."""

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl

PLACES = 2
"""How many are read at a time."""

TURN_SECONDS = 0.2
"""After so long the next one is read, too: who sends slowly keeps no one waiting."""


class Draining:
    """Connections whose rest of a refused upload is thrown away, in turns.

    The answer has gone out before. To read all of them at once would take the event loop's time
    from those that were admitted: each step of theirs would wait until every refused upload had
    been read from.
    """

    def __init__(self) -> None:
        self._reading: dict[FlowControl, asyncio.TimerHandle] = {}
        self._waiting: dict[FlowControl, None] = {}  # in their order

    def begin(self, flow: FlowControl) -> None:
        """Read from a connection when it is its turn, and not before."""
        flow.pause_reading()
        self._waiting[flow] = None
        self._fill()

    def end(self, flow: FlowControl) -> None:
        """There is nothing left to read, or no connection."""
        self._waiting.pop(flow, None)
        if (timer := self._reading.pop(flow, None)) is not None:
            timer.cancel()
        self._fill()

    def waits(self, flow: FlowControl) -> bool:
        """Whether it is not a connection's turn yet."""
        return flow in self._waiting

    def _fill(self) -> None:
        while self._waiting and len(self._reading) < PLACES:
            flow = next(iter(self._waiting))
            del self._waiting[flow]
            turn = asyncio.get_running_loop().call_later(TURN_SECONDS, self.end, flow)
            self._reading[flow] = turn
            flow.resume_reading()
