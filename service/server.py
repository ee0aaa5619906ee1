"""The process: one uvicorn, whose event loop does nothing but I/O."""

import asyncio
import contextlib
import socket
import time

import uvicorn

from localization import BundleRefused, ProviderUnavailable
from service.app import create_app
from service.lifecycle import Lifecycle, load_localizer
from service.logs import configure_logs
from service.settings import Settings


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Exits with status 1 and one line on standard error where the bundle or the execution
    provider is refused.
    """
    configure_logs(settings)
    try:
        localizer = load_localizer(settings)
    except (BundleRefused, ProviderUnavailable) as error:
        raise SystemExit(f"cxr-localizer cannot serve: {error}") from error
    app = create_app(settings, localizer=localizer)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.grace_seconds,
    )
    # uvicorn has stopped gracefully before it raises Ctrl-C again.
    with contextlib.suppress(KeyboardInterrupt):
        _Server(config, app.state.lifecycle).run()


class _Server(uvicorn.Server):
    """A server that says it is draining before it closes its port."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._lifecycle.begin_draining()
        closing = time.monotonic() + self._lifecycle.settings.drain_seconds
        while time.monotonic() < closing and not self.force_exit:
            await asyncio.sleep(0.1)
        await super().shutdown(sockets)
