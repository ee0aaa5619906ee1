"""Whom the review's server answers: browsers that its own page runs in, and no other site's.

It asks for no password, so another page in the same browser must neither read nor judge. The same
origin policy of browsers leaves two ways: a name that its owner binds to this machine's address
once the page is loaded (DNS rebinding; such a name stands in `Host`), and a form or a request that
is sent blindly (its page stands in `Origin`).
"""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from reviewing.addresses import names_of
from service.problems import Kind, problem_response

ANSWERED_METHODS = ("GET", "HEAD")
"""They change nothing: asked by another site, their answers are kept from it by the browser."""


class SameOrigin:
    """Pure-ASGI middleware: refuses what another site's page sends. It listens on ``host``."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        self._names = names_of(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (detail := self._objection(scope)):
            kind = Kind(403, "This request comes from elsewhere")
            response = problem_response(scope, "other-origin", detail, kind=kind)
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _objection(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return f"Open the page by the machine's IP address, or as {' or '.join(self._names)}."
        if scope["method"] in ANSWERED_METHODS:
            return None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "Only the page of this server may send decisions."
        return None

    def _is_ours(self, host: str) -> bool:
        """An address cannot be bound anew, as a name can: any will do."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.lower() in self._names
        return True
