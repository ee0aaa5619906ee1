"""What became of each request: one line in the log, one count in the metrics."""

import re
import time
from typing import TYPE_CHECKING

import structlog
from asgi_correlation_id import correlation_id
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine import WorkFailed
from service.logs import where
from service.metrics import Metrics
from service.problems import problem_response
from service.timeline import Timeline

if TYPE_CHECKING:
    from service.tracing import RequestSpan, Tracer

log = structlog.stdlib.get_logger("service")

LOCALIZE = "/localize"
PROBES = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})


NO_STAGES = Timeline()
"""Of a request that was not admitted, or is no radiograph's."""

TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
"""W3C Trace Context: version, the id of the trace, that of the caller's span, flags."""


class ObserveRequests:
    """Pure-ASGI middleware: logs, counts and traces requests, and answers unexpected errors.

    Unexpected errors end here and not in the server, whose log would quote their messages.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, tracer: "Tracer | None") -> None:
        self.app = app
        self.metrics = metrics
        self.tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif is_localize(scope):
            with self.metrics.in_flight.track_inprogress():
                await self._observe(scope, receive, send)
        else:
            await self._observe(scope, receive, send)

    async def _observe(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status: int | None = None
        span = None
        if self.tracer is not None and is_localize(scope):
            span = self.tracer.begin(scope)
        ids = _ids(_caller_trace_id(scope) if span is None else span.trace_id)

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_observed)
        except ClientDisconnect:
            pass
        except Exception as error:
            name, places = _describe(error)
            log.error("unexpected error", **ids, error=name, where=places)
            if status is not None:
                raise
            detail = "An unexpected error occurred; it is logged under this request's id."
            response = problem_response(scope, "internal-error", detail)
            await response(scope, receive, send_observed)
        finally:
            self._count(scope, status)
            _log(scope, status, started, ids)
            if span is not None:
                _end(span, scope, status)

    def _count(self, scope: Scope, status: int | None) -> None:
        problem = scope.get("state", {}).get("problem")
        if is_localize(scope):
            self.metrics.outcomes[_outcome(status)].inc()
            if problem is not None:
                self.metrics.refusals.labels(problem).inc()


def _log(scope: Scope, status: int | None, started: float, ids: dict[str, str | None]) -> None:
    """Write the request's line; its milliseconds are those of all of it, then of each stage."""
    state = scope.get("state", {})
    now = time.perf_counter()
    seconds = {"request": now - started, **state.get("timeline", NO_STAGES).seconds(now)}
    write = log.debug if scope["path"] in PROBES else log.info
    write(
        "request",
        **ids,
        method=scope["method"],
        path=_path(scope),
        status=status,
        outcome=_outcome(status),
        **{name: state[name] for name in ("problem", "key") if state.get(name) is not None},
        **state.get("radiograph", {}),
        **{f"{stage}_ms": round(1000 * value, 3) for stage, value in seconds.items()},
    )


def _end(span: "RequestSpan", scope: Scope, status: int | None) -> None:
    state = scope.get("state", {})
    attributes = {
        "http.request.method": scope["method"],
        "http.route": LOCALIZE,
        "cxr.outcome": _outcome(status),
        **{f"cxr.{name}": value for name, value in state.get("radiograph", {}).items()},
    }
    span.end(status, state.get("problem"), attributes, state.get("timeline", NO_STAGES))


def _ids(trace_id: str | None) -> dict[str, str | None]:
    ids = {"request_id": correlation_id.get()}
    return ids if trace_id is None else {**ids, "trace_id": trace_id}


def _caller_trace_id(scope: Scope) -> str | None:
    """The id of the trace that the caller says the request belongs to."""
    match = TRACEPARENT.fullmatch(Headers(scope=scope).get("traceparent", ""))
    return match and match[1]


def is_localize(scope: Scope) -> bool:
    """Whether a request is one that the service is there for."""
    return bool(scope["path"] == LOCALIZE and scope["method"] == "POST")


def _outcome(status: int | None) -> str:
    if status is None:
        return "abandoned"
    if status < 400:
        return "answered"
    if status in (401, 429):
        return "denied"
    if status == 503:
        return "turned_away"
    return "failed" if status >= 500 else "refused"


def _describe(error: Exception) -> tuple[str, list[str]]:
    """Name and place of an unexpected error, in this process or in a worker's."""
    if isinstance(error, WorkFailed):
        return error.name, error.where
    return type(error).__name__, where(error)


def _path(scope: Scope) -> str:
    """Return the path of the route, not of the URL: a client may write anything into that."""
    route = scope.get("route")
    return getattr(route, "path", "(unknown)")
