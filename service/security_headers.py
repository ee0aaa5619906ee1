"""What every answer tells a browser to leave alone."""

from starlette.datastructures import MutableHeaders
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


class SecurityHeaders:
    """Pure-ASGI middleware: adds what an answer does not say itself; HSTS if it speaks ``tls``."""

    def __init__(self, app: ASGIApp, tls: bool) -> None:
        self.app = app
        self._all = ALL | HSTS if tls else ALL

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add(MutableHeaders(scope=message), scope["path"])
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _add(self, headers: MutableHeaders, path: str) -> None:
        added = dict(self._all)
        if headers.get("content-type", "").startswith("text/html"):
            added |= PAGES
        if path == LOCALIZE:
            added["Cache-Control"] = "no-store"  # nor on the disk of whoever asked
        for name, value in added.items():
            headers.setdefault(name, value)
