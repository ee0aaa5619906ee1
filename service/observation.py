"""What became of each request: one line in the log, one count in the metrics."""

import time

import structlog
from asgi_correlation_id import correlation_id
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine import WorkFailed
from service.logs import where
from service.metrics import Metrics
from service.problems import problem_response

log = structlog.stdlib.get_logger("service")

LOCALIZE = "/localize"
PROBES = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})


class ObserveRequests:
    """Pure-ASGI middleware: logs and counts requests, and answers unexpected errors.

    Unexpected errors end here and not in the server, whose log would quote their messages.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif _is_localize(scope):
            with self.metrics.in_flight.track_inprogress():
                await self._observe(scope, receive, send)
        else:
            await self._observe(scope, receive, send)

    async def _observe(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status: int | None = None

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
            log.error("unexpected error", request_id=correlation_id.get(), error=name, where=places)
            if status is not None:
                raise
            detail = "An unexpected error occurred; it is logged under this request's id."
            response = problem_response(scope, "internal-error", detail)
            await response(scope, receive, send_observed)
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int | None, seconds: float) -> None:
        state = scope.get("state", {})
        problem = state.get("problem")
        outcome = _outcome(status)
        if _is_localize(scope):
            self.metrics.requests.labels(outcome).inc()
            if problem is not None:
                self.metrics.refusals.labels(problem).inc()
        write = log.debug if scope["path"] in PROBES else log.info
        write(
            "request",
            request_id=correlation_id.get(),
            method=scope["method"],
            path=_path(scope),
            status=status,
            seconds=round(seconds, 6),
            outcome=outcome,
            **({"problem": problem} if problem is not None else {}),
            **({"key": state["key"]} if "key" in state else {}),  # its name
            **state.get("radiograph", {}),
        )


def _is_localize(scope: Scope) -> bool:
    return bool(scope["path"] == LOCALIZE and scope["method"] == "POST")


def _outcome(status: int | None) -> str:
    if status is None:
        return "abandoned"
    if status < 400:
        return "answered"
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
