"""uvicorn's HTTP, but that the server can write a body where it is wanted."""

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.answer_transport import AnswerTransport
from service.draining import Draining
from service.impatience import ImpatientProtocol

SINK = "cxr.sink"
"""In a request's scope: the `Sink` of what is still to come of its body."""

DIVERT = "cxr.divert"
"""In a request's scope, where its server can: to be called once the scope has a sink.

From then on the messages of `receive` hold no bytes. They come with the last byte, and with such
as the sink does not want; what comes when there is no sink any more is thrown away.
"""

HEAD_BYTES = 64 * 1024
"""Of a head, and what follows it, so much is received at a time."""

END_OF_HEAD = b"\r\n\r\n"

UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
IGNORED = b"\r\nignored:"
"""As long as the header's name that it stands for: of a request that asks for another protocol, as
Java's client does of each, the parser would take the body for the next request.
"""


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


class DivertingProtocol(asyncio.BufferedProtocol):
    """Leaves the parser out where it has nothing to say: in a body of known length.

    Through parser and `receive` every part is copied five times, and wakes the request's task.
    What came with a head waits for that task to begin, which says where it belongs.
    """

    _received = memoryview(bytearray(HEAD_BYTES))
    """Of any connection, until it is asked for the next: one at a time is read."""

    def __init__(self, **of_server: Any) -> None:
        self._http = _Http(self, **of_server)
        self._coming = 0
        """Bytes of a diverted body that are still to come."""
        self._held = b""
        """What came behind a head."""
        self.connection_made = self._http.connection_made  # type: ignore[assignment, method-assign]
        self.eof_received = self._http.eof_received  # type: ignore[method-assign]
        self.pause_writing = self._http.pause_writing  # type: ignore[method-assign]
        self.resume_writing = self._http.resume_writing  # type: ignore[method-assign]

    def connection_lost(self, exc: Exception | None) -> None:
        """Of the event loop: the connection is closed."""
        self._held = b""
        self._http.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport shall write."""
        if self._coming and (sink := self._sink) is not None:
            return sink.memory()[: self._coming]
        return self._received[: self._coming or HEAD_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """It has written."""
        if not self._coming:
            self._parse(bytes(self._received[:nbytes]))
            return
        self._coming -= nbytes
        if (sink := self._sink) is None or not sink.filled(nbytes):
            self._http.cycle.message_event.set()
        if not self._coming:
            self._http.end_body()

    @property
    def _sink(self) -> Sink | None:
        return self._http.cycle.scope.get(SINK)  # type: ignore[return-value]

    def _parse(self, data: bytes) -> None:
        if self._held:
            self._held += data
            return
        end = data.find(END_OF_HEAD) + len(END_OF_HEAD) if self._http.is_free else 0
        if end < len(END_OF_HEAD):
            self._http.data_received(data)
            return
        self._http.data_received(UPGRADE.sub(IGNORED, data[:end]))
        if not (behind := data[end:]):
            return
        if self._http.is_new:
            self._hold(behind)
        elif not self._http.transport.is_closing():
            self._http.data_received(behind)

    def _hold(self, data: bytes) -> None:
        """Keep the beginning of a body until the request's task has had its first turn."""
        self._held = data
        if len(data) < self._http.left:
            self._http.flow.pause_reading()
        self._http.loop.call_soon(self._release)

    def _release(self) -> None:
        """Have it parsed, where it was not diverted."""
        held, self._held = self._held, b""
        if held:
            if not self._http.waits_to_be_drained:
                self._http.flow.resume_reading()
            self._http.data_received(held)

    def divert(self, cycle: RequestResponseCycle) -> None:
        """Have a request's sink filled by what has come of its body, and by what will come."""
        # Another request may have begun behind the one that asks, whose body has come then.
        if cycle is not self._http.cycle or self._http.left <= 0:
            return
        parsed, cycle.body = cycle.body, bytearray()
        held, self._held = self._held, b""
        self._coming = len(parsed) + self._http.left
        behind = held[self._http.left :]
        self._fill(parsed)
        self._fill(held[: self._http.left])
        if self._coming:
            self._http.flow.resume_reading()
        if behind:
            self._parse(behind)

    def _fill(self, data: bytes | bytearray) -> None:
        if data:
            self.get_buffer(len(data))[: len(data)] = data
            self.buffer_updated(len(data))


class _Http(ImpatientProtocol):
    """The parser's side of a connection."""

    left = 0
    """Bytes that the parser has not seen of the body; 0 also where its length is not known."""
    _draining = Draining()
    """Of all connections."""

    def __init__(self, connection: DivertingProtocol, **of_server: Any) -> None:
        super().__init__(**of_server)
        self._connection = connection

    @property
    def is_free(self) -> bool:
        """Whether the next head is that of a request which would be served at once."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_new(self) -> bool:
        """Whether a request is served of whose body of known length nothing was parsed yet."""
        return self.left > 0 and not self.pipeline and not self.cycle.response_complete

    @property
    def waits_to_be_drained(self) -> bool:
        """Whether the request was answered, and the rest of its body has to wait."""
        return self._draining.waits(self.flow)

    @property
    def is_over(self) -> bool:
        """Whether the last request of the connection has come to its end."""
        return self.cycle is not None and not (self.cycle.keep_alive or self.cycle.more_body)

    def data_received(self, data: bytes) -> None:
        """Parse; what follows the last request is no one's."""
        if not self.is_over:
            super().data_received(data)

    def on_headers_complete(self) -> None:
        """Of the parser: a request begins, its body follows."""
        super().on_headers_complete()
        if self.parser.should_upgrade():  # It looks for no body, whether there is one or not.
            self.cycle.keep_alive = False
        length = dict(self.headers).get(b"content-length", b"")
        self.left = int(length) if length.isdigit() else 0
        if self.scope["method"] != "HEAD":  # whose answers are nothing but a head
            self.cycle.transport = AnswerTransport(self.transport, self.cycle)  # type: ignore[assignment]
        divert = partial(self._connection.divert, self.cycle)
        self.scope[DIVERT] = divert  # type: ignore[literal-required]

    def on_body(self, body: bytes) -> None:
        """Of the parser: a part of the body has come."""
        self.left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Of the parser: all of the body has come."""
        self.left = 0
        if self.waits_to_be_drained:  # What had come already was all.
            self.flow.resume_reading()
        self._draining.end(self.flow)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Of a request: it is answered."""
        super().on_response_complete()
        if self.left > 0 and self.cycle.response_complete and not self.transport.is_closing():
            self._unset_keepalive_if_required()  # It is not the client that keeps one waiting.
            self._draining.begin(self.flow)

    def _look(self) -> None:
        if self.waits_to_be_drained:  # It is not the client that keeps one waiting.
            self._wait()
        else:
            super()._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Of the event loop: the connection is closed."""
        self._draining.end(self.flow)
        super().connection_lost(exc)

    def end_body(self) -> None:
        """All of a diverted body has come. The parser still waits for it: a new one goes on."""
        self.parser = type(self.parser)(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as the first one
        self.on_message_complete()
