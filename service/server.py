"""The process: one uvicorn, whose event loop does nothing but I/O."""

import asyncio
import contextlib
import signal
import socket
import sys
import time

import uvicorn

from localization import BundleRefused, ProviderUnavailable
from service.app import create_app
from service.lifecycle import Lifecycle, open_engine
from service.logs import configure_logs
from service.settings import Settings


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Exits with status 1 and one line on standard error where the bundle or the execution
    provider is refused.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to load anew
    # Also while it loads, and as the first process of a container, which by default ignores it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    configure_logs(settings)
    try:
        engine = open_engine(settings)
    except (BundleRefused, ProviderUnavailable) as error:
        raise SystemExit(f"cxr-localizer cannot serve: {error}") from error
    except OSError as error:
        raise SystemExit(
            "cxr-localizer cannot serve: its worker processes need a folder for temporary files "
            f"(TMPDIR): {error}"
        ) from error
    app = create_app(settings, engine=engine)
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
    """A server that loads its model anew on SIGHUP, and says it is draining before it closes its
    port."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._reload: asyncio.Task[None] | None = None
        self._asked = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._begin_reload)

    def _begin_reload(self) -> None:
        """One after another; what changes while a reload is under way is loaded after it."""
        self._asked = True
        if self._reload is None or self._reload.done():
            self._reload = asyncio.create_task(self._reload_while_asked())

    async def _reload_while_asked(self) -> None:
        while self._asked:
            self._asked = False
            await self._lifecycle.reload()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._lifecycle.begin_draining()
        closing = time.monotonic() + self._lifecycle.settings.drain_seconds
        while time.monotonic() < closing and not self.force_exit:
            await asyncio.sleep(0.1)
        await super().shutdown(sockets)
