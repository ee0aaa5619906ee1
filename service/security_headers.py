"""What every answer tells a browser to leave alone."""

from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observation import LOCALIZE

ALL = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PAGES = {
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
}
HSTS = {"Strict-Transport-Security": "max-age=31536000"}
"""A year. It binds the whole host, so a proxy that ends TLS sends its own."""


def _raw(headers: Mapping[str, str]) -> dict[bytes, bytes]:
    """As a message has them: names in small letters."""
    return {name.lower().encode(): value.encode() for name, value in headers.items()}


_PAGES = _raw(PAGES)
_LOCALIZE = _raw({"Cache-Control": "no-store"})
"""Nor shall an answer lie on the disk of whoever asked."""


class SecurityHeaders:
    """Pure-ASGI middleware: adds what an answer does not say itself; HSTS if it speaks ``tls``."""

    def __init__(self, app: ASGIApp, tls: bool) -> None:
        self.app = app
        self._all = _raw(ALL | HSTS if tls else ALL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._added(message["headers"], scope["path"])
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _added(
        self, headers: Iterable[tuple[bytes, bytes]], path: str
    ) -> list[tuple[bytes, bytes]]:
        own = dict(headers)
        added = self._all
        if own.get(b"content-type", b"").startswith(b"text/html"):
            added = added | _PAGES
        if path == LOCALIZE:
            added = added | _LOCALIZE
        return [*headers, *((name, added[name]) for name in added if name not in own)]
