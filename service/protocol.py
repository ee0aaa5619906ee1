"""uvicorn's HTTP, with a shorter way for long bodies."""

from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

SINK = "cxr.sink"
"""In a request's scope: takes each further part of its body, or returns False.

What it does not take comes by `receive`, as without it. The last message comes so in any case.
"""


class SinkProtocol(HttpToolsProtocol):
    """Hands parts of a body to the request's sink as they are parsed, where it has one.

    By `receive` each part wakes the request's task and is copied three times on its way.
    """

    def on_body(self, body: bytes) -> None:
        """Of the parser: a part of the body has come."""
        sink: Callable[[bytes], bool] | None = self.cycle.scope.get(SINK)  # type: ignore[assignment]
        if sink is None or not sink(body):
            super().on_body(body)
