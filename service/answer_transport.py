"""One write for head and body of an answer."""

import asyncio

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class AnswerTransport:
    """A transport for one request, which writes its answer's head with what follows it.

    Each write costs the way through TCP, and wakes who reads.
    """

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle) -> None:
        self._transport, self._cycle = transport, cycle
        self._head: bytes | None = None
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Write, but keep a head."""
        if self._head is None and self._cycle.response_started:
            self._head = data
        elif self._head:
            self._head, head = b"", self._head
            self._transport.write(head + data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection."""
        if self._head:
            self.write(b"")
        self._transport.close()
