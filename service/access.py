"""Who may ask, and how often: decided before a byte of the upload is read."""

import ipaddress
import math

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.keys import KeyRing
from service.observation import LOCALIZE
from service.problems import Refused, problem_response
from service.rate_limit import RateLimit
from service.refusal import refuse_unread
from service.settings import Misconfigured, Settings

log = structlog.stdlib.get_logger("service")

OPEN = frozenset(
    {
        # Orchestrators and load balancers hold no key.
        "/healthz",
        "/readyz",
        "/v2/health/live",
        "/v2/health/ready",
        # A browser cannot send one with a page that it opens. The same for everyone, they tell
        # nothing of this service; what they call needs the key.
        "/",
        "/favicon.ico",
        "/docs",
        "/openapi.json",
    }
)
"""The paths that need no key; all others do, those that are not there as well."""

OPEN_FOLDERS = ("/docs/", "/page/")
"""The files of the open pages."""


def is_open(path: str) -> bool:
    """Whether a path needs no key, whatever the policy."""
    return path in OPEN or path.startswith(OPEN_FOLDERS)


def key_ring(settings: Settings) -> KeyRing | None:
    """Return the keys of which a request needs one; None where access is open.

    Raises `Misconfigured` where keys are needed and there are none.
    """
    configured = bool(settings.api_keys.strip()) or settings.api_keys_file is not None
    needed = settings.access == "keys" or not _is_loopback(settings.host) or configured
    if settings.access == "open" or not needed:
        write = log.info if _is_loopback(settings.host) else log.warning
        write("access is open", host=settings.host)
        return None
    keys = KeyRing(settings.api_keys, settings.api_keys_file)
    if not keys.names:
        raise Misconfigured(
            f"access at {settings.host} needs an API key, and there is none: run `cxr-localizer "
            "key NAME`, put the line that it prints into a file and name the file by "
            "CXR_API_KEYS_FILE; or let everyone in by CXR_ACCESS=open."
        )
    log.info("access needs a key", names=keys.names)
    return keys


def rate_limit(settings: Settings) -> RateLimit | None:
    """Return the limit that the settings ask for; None where they ask for none."""
    if not settings.rate_per_minute:
        return None
    return RateLimit(settings.rate_per_minute, settings.rate_burst)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"  # What other names lead to is not known here.


class Access:
    """Pure-ASGI middleware: asks for one of ``keys``, if any, and keeps each caller to ``limit``.

    A caller is the holder of a key; where access is open, an address. The limit counts
    POST /localize alone. Wrong keys are not counted against anyone: behind one address there may
    be a whole hospital, and a key of 256 bits needs no lock that counts guesses.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing | None, limit: RateLimit | None) -> None:
        self.app = app
        self._keys = keys
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_open(scope["path"]):
            try:
                self._admit(scope)
            except Refused as refusal:
                await _refuse(refusal, scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        """Raise `Refused` where the request may not come in; leave the key's name in its state."""
        key = None
        if self._keys is not None:
            key = self._require_key(self._keys, scope)
            scope.setdefault("state", {})["key"] = key
        if self._limit is not None and scope["path"] == LOCALIZE:
            _require_token(self._limit, _address(scope) if key is None else key)

    @staticmethod
    def _require_key(keys: KeyRing, scope: Scope) -> str:
        key = _key(Headers(scope=scope))
        name = keys.holder(key.encode("latin-1")) if key else None
        if name is None:
            detail = "This API key is not valid here." if key else "An API key is needed."
            raise Refused(
                "unauthorized",
                f"{detail} Send one as `Authorization: Bearer KEY` or as `X-API-Key: KEY`.",
                {"WWW-Authenticate": "Bearer"},
            )
        return name


def _require_token(limit: RateLimit, caller: str) -> None:
    if wait := math.ceil(limit.seconds_to_wait(caller)):
        raise Refused(
            "rate-limited",
            f"These are more requests than one caller may send; try again in {wait} s.",
            {"Retry-After": str(wait)},
        )


def _key(headers: Headers) -> str:
    """Return the key that the request holds; empty where it holds none."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get("x-api-key", "").strip()


def _address(scope: Scope) -> str:
    """Return whom an address stands for: of IPv6, whoever has the network of 64 bits."""
    host = str((scope.get("client") or ("", 0))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Network((int(address), 64), strict=False))


async def _refuse(refusal: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    response = problem_response(scope, refusal.slug, refusal.detail, headers=refusal.headers)
    if _has_body(Headers(scope=scope)):
        await refuse_unread(response, scope, receive, send, unfinished=True)
    else:
        await response(scope, receive, send)


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
