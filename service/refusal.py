"""Refusing a request whose body has not been read."""

import asyncio

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

    async def send_unfinished(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "more_body": True}
        await send(message)

    await response(scope, receive, send_unfinished)
    if unfinished:
        await _throw_away(receive)
    await send({"type": "http.response.body", "body": b""})


async def _throw_away(receive: Receive) -> None:
    """Read what is left of the body, for `LINGER_SECONDS` at most."""
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        pass
