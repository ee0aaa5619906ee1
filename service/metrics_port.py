"""Metrics on a port of their own: for the operators' network, without a key."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.impatience import ImpatientProtocol
from service.metrics import Metrics
from service.settings import Misconfigured, Settings


def exposition(metrics: Metrics, accept: str) -> Response:
    """Return the metrics in a format of Prometheus' that the scraper accepts."""
    encode, media_type = choose_encoder(accept)
    return Response(encode(metrics.registry), headers={"content-type": media_type})


def listen(settings: Settings) -> socket.socket | None:
    """Return the socket that metrics are asked at; None where they have no port of their own.

    Raises `Misconfigured` where the port cannot be had.
    """
    if not settings.metrics_port:
        return None
    host = settings.metrics_host or settings.host
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, settings.metrics_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address, family=family)
    except OSError as error:
        raise Misconfigured(
            f"metrics cannot be had at CXR_METRICS_PORT, {host}:{settings.metrics_port}: {error}"
        ) from error


class MetricsServer(uvicorn.Server):
    """Answers GET /metrics, and nothing else, in the event loop of the service."""

    def __init__(self, metrics: Metrics, listening: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                _app(metrics),
                http=ImpatientProtocol,
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._listening = listening
        self._serving: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are for the service's own server, which stops this one."""
        yield

    def start(self) -> None:
        """Serve from now on."""
        self._serving = asyncio.create_task(self.serve([self._listening]))

    async def stop(self) -> None:
        """Finish the scrapes under way."""
        self.should_exit = True
        if self._serving is not None:
            await self._serving


def _app(metrics: Metrics) -> Starlette:
    # Not `async`: it reads what /proc says of every worker, and the event loop has others to serve.
    def answer(request: Request) -> Response:
        return exposition(metrics, request.headers.get("accept", ""))

    return Starlette(routes=[Route("/metrics", answer)])
