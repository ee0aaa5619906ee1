"""Whom the review's server answers: browsers that its own page runs in, and no other site's.

It asks for no password, so another page in the same browser must neither read nor judge. The same
origin policy of browsers leaves two ways: a name that its owner binds to this machine's address
once the page is loaded (DNS rebinding; such a name stands in `Host`), and a form or a request that
is sent blindly (its page stands in `Origin`).
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.problems import Kind, problem_response

ANSWERED_METHODS = ("GET", "HEAD")
"""They change nothing: asked by another site, their answers are kept from it by the browser."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class SameOrigin:
    """Pure-ASGI middleware: refuses what another site's page sends. It listens on ``host``."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        self._names = {"localhost", host.lower()}
        if not is_loopback(host):
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

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
            return "Open the page by the address that the command prints."
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
