"""uvicorn's HTTP, but that who connects has to ask."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

IDLE_SECONDS = 10.0
"""For so long a connection may have no request under way; at most twice as long after an answer."""


class ImpatientProtocol(HttpToolsProtocol):
    """Closes a connection on which no request's head becomes complete.

    uvicorn itself waits for one without end: its keep-alive begins with an answer, and ends with
    the next byte. One timer goes with the connection, and none with a request.
    """

    _answered = False
    """Whether a request was answered since the timer was set."""
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Of the event loop: someone has connected."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Of the event loop: the connection is closed."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Of a request: it is answered."""
        self._answered = True
        super().on_response_complete()

    def _wait(self) -> None:
        self._answered = False
        self._timer = self.loop.call_later(IDLE_SECONDS, self._look)

    def _look(self) -> None:
        under_way = self.cycle is not None and not self.cycle.response_complete
        if under_way or self._answered:
            self._wait()
        else:
            self.transport.close()
