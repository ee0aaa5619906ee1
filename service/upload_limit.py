"""How much an upload may hold, all of them together, and how long one may take to come."""

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import problem_response
from service.refusal import closes, lingering, refuse_unread

ROOM = "room"
"""In a request's state: the `Room` of its body."""


class _UploadRefused(Exception):
    """A body that may not be read to its end; ``unfinished`` if more of it would follow."""

    def __init__(self, slug: str, detail: str, unfinished: bool) -> None:
        super().__init__(detail)
        self.slug, self.detail, self.unfinished = slug, detail, unfinished


class UploadLimit:
    """Pure-ASGI middleware: a body may hold ``max_bytes`` bytes, all bodies at a time ``max_held``,
    and none may take more than ``seconds`` to come.

    A body that says its length is refused before it is read, any other once it has grown too
    long. (Starlette's own limit answers plain text; ours is a problem like every other.)
    ``retry_after`` says how many seconds to name where too much is held.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int,
        max_held: int,
        seconds: float,
        retry_after: Callable[[], int],
    ) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.max_held = max_held
        self.seconds = seconds
        self.retry_after = retry_after
        self.held = 0
        """Bytes of all bodies."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        room = Room(self)
        scope.setdefault("state", {})[ROOM] = room
        try:
            room.require(_content_length(scope), unfinished=True)
            await self.app(scope, room.counted(receive), _answering(scope, receive, send, room))
        except _UploadRefused as refusal:
            room.let_go()
            await self._refuse(refusal, scope, receive, send)
        finally:
            room.let_go()

    async def _refuse(
        self, refusal: _UploadRefused, scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers = None
        if refusal.slug == "too-much-held":
            headers = {"Retry-After": str(self.retry_after())}
        response = problem_response(scope, refusal.slug, refusal.detail, headers=headers)
        await refuse_unread(response, scope, receive, send, unfinished=refusal.unfinished)


class Room:
    """What one request's body holds."""

    def __init__(self, limit: UploadLimit) -> None:
        self.is_unread = True
        """Until the last byte has come."""
        self._limit = limit
        self._bytes = self._lacking = 0

    def take(self, count: int) -> bool:
        """Take room for so many bytes more, if there is any; `counted` tells if there is not."""
        if self._refusal(count) is not None:
            self._lacking = count
            return False
        self._bytes += count
        self._limit.held += count
        return True

    def require(self, count: int, *, unfinished: bool) -> None:
        """Raise `_UploadRefused` where there is no room for so many bytes more."""
        if refusal := self._refusal(count):
            raise _UploadRefused(*refusal, unfinished)

    def _refusal(self, count: int) -> tuple[str, str] | None:
        """Slug and detail."""
        if self._bytes + count > self._limit.max_bytes:
            return (
                "upload-too-large",
                f"A request may hold {self._limit.max_bytes} bytes at most; send the radiograph "
                "itself, one at a time, without padding or attachments.",
            )
        if self._limit.held + count > self._limit.max_held:
            return (
                "too-much-held",
                "The service holds as many uploads as it may; try again in a moment.",
            )
        return None

    def let_go(self) -> None:
        """Give the room back."""
        self._limit.held -= self._bytes
        self._bytes = 0

    def counted(self, receive: Receive) -> Receive:
        """Return ``receive`` that counts what comes through it, and does not wait for ever."""
        end: float | None = asyncio.get_running_loop().time() + self._limit.seconds

        async def receive_counted() -> Message:
            nonlocal end
            if end is None:
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise _UploadRefused(
                    "upload-too-slow",
                    f"The upload was not complete after {self._limit.seconds:g} seconds.",
                    unfinished=True,
                ) from None
            if not message.get("more_body", False):
                end = None  # After it, nothing but a hang-up can come.
                self.is_unread = False
            count = len(message.get("body", b""))
            self.require(count + self._lacking, unfinished=end is not None)
            self.take(count)
            return message

        return receive_counted


def _answering(scope: Scope, receive: Receive, send: Send, room: Room) -> Send:
    """Where the connection is then closed, what is answered early must not be lost with it."""
    return lingering(receive, send, lambda: room.is_unread) if closes(scope) else send


def _content_length(scope: Scope) -> int:
    """Return the length that the request declares; 0 where it declares none."""
    length = Headers(scope=scope).get("content-length", "")
    return int(length) if length.isdecimal() else 0
