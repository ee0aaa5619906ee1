"""uvicorn's HTTP, but that the server can write a long body where it is wanted."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.impatience import ImpatientProtocol

SINK = "cxr.sink"
"""In a request's scope: the `Sink` of what is still to come of its body."""

DIVERT = "cxr.divert"
"""In a request's scope, where its server can: to be called once the scope has a sink.

From then on the messages of `receive` hold no bytes. They come with the last byte, and with such
as the sink does not want; what comes when there is no sink any more is thrown away.
"""

WASTE_BYTES = 64 * 1024


class Sink(Protocol):
    """Where the server writes."""

    def memory(self) -> memoryview:
        """Where the next bytes belong; as long as all that may still come."""

    def filled(self, count: int) -> bool:
        """So many have been written there. Returns whether they are wanted."""


def divert(scope: Scope, sink: Sink) -> None:
    """Have the server write what is still to come of a body, if it can; `retain` ends it."""
    start: Callable[[], None] | None = scope.pop(DIVERT, None)
    if start is not None:
        scope[SINK] = sink
        start()


def retain(scope: Scope) -> None:
    """Let the server write no more of the body."""
    scope.pop(SINK, None)


class DivertingProtocol(ImpatientProtocol):
    """Leaves the parser out where it has nothing to say: in the middle of a body of known length.

    Through parser and `receive` every part is copied five times, and wakes the request's task.
    """

    _left = 0
    """Bytes that the parser has not seen of the body; 0 also where its length is not known."""

    def on_headers_complete(self) -> None:
        """Of the parser: a request begins, its body follows."""
        super().on_headers_complete()
        length = dict(self.headers).get(b"content-length", b"")
        self._left = int(length) if length.isdigit() else 0
        self.scope[DIVERT] = partial(self._divert, self.cycle)  # type: ignore[literal-required]

    def on_body(self, body: bytes) -> None:
        """Of the parser: a part of the body has come."""
        self._left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Of the parser: all of the body has come."""
        self._left = 0
        super().on_message_complete()

    def _divert(self, cycle: RequestResponseCycle) -> None:
        # Another request may have begun behind the one that asks, whose body has come then.
        if cycle is self.cycle and self._left > 0:
            self._change_to(_Rest(self, self._left))

    def end_body(self) -> None:
        """All of a diverted body has come. The parser still waits for it: a new one goes on."""
        self.parser = type(self.parser)(self)
        self._change_to(self)
        self.on_message_complete()

    def _change_to(self, protocol: asyncio.BaseProtocol) -> None:
        # uvloop asks a transport's protocol how to read only when it begins to.
        self.flow.pause_reading()
        self.transport.set_protocol(protocol)
        self.flow.resume_reading()


class _Rest(asyncio.BufferedProtocol):
    """In the place of the HTTP protocol until the rest of a body has come."""

    def __init__(self, http: DivertingProtocol, left: int) -> None:
        self._http = http
        self._left = left
        self._waste = memoryview(b"")
        self.connection_lost = http.connection_lost  # type: ignore[method-assign]
        self.pause_writing = http.pause_writing  # type: ignore[method-assign]
        self.resume_writing = http.resume_writing  # type: ignore[method-assign]

    @property
    def _sink(self) -> Sink | None:
        return self._http.cycle.scope.get(SINK)  # type: ignore[return-value]

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport shall write."""
        if self._sink is not None:
            return self._sink.memory()[: self._left]
        self._waste = self._waste or memoryview(bytearray(WASTE_BYTES))
        return self._waste[: self._left]

    def buffer_updated(self, nbytes: int) -> None:
        """It has written."""
        self._left -= nbytes
        if self._sink is None or not self._sink.filled(nbytes):
            self._http.cycle.message_event.set()
        if not self._left:
            self._http.end_body()
