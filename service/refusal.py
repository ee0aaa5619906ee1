"""Refusing a request whose body has not been read."""

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

LINGER_SECONDS = 5.0
"""How long a refused upload is read and thrown away before its connection is closed."""


async def refuse_unread(
    response: Response, scope: Scope, receive: Receive, send: Send, *, unfinished: bool
) -> None:
    """Answer, and close the connection; ``unfinished`` if more of the body would follow.

    Then it is read on for a while: closing on a client that still sends would reset the
    connection, and the answer could be lost with it.
    """
    response.headers["Connection"] = "close"
    await response(scope, receive, lingering(receive, send, lambda: unfinished))


def closes(scope: Scope) -> bool:
    """Whether the connection is closed behind the answer because the client says so."""
    wish = Headers(scope=scope).get("connection", "")
    return scope.get("http_version") == "1.0" or "close" in wish.lower()


def lingering(receive: Receive, send: Send, is_unread: Callable[[], bool]) -> Send:
    """Return ``send`` that reads on, before it ends an answer, where the body `is_unread`."""

    async def send_lingering(message: Message) -> None:
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not is_last or not is_unread():
            await send(message)
            return
        await send({**message, "more_body": True})
        await _throw_away(receive)
        await send({"type": "http.response.body", "body": b""})

    return send_lingering


async def _throw_away(receive: Receive) -> None:
    """Read what is left of the body, for `LINGER_SECONDS` at most."""
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        pass
