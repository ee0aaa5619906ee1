"""The process: one uvicorn, whose event loop does nothing but I/O."""

import asyncio
import contextlib
import signal
import socket
import sys
import time

import structlog
import uvicorn
from fastapi import FastAPI

from localization import BundleRefused, ProviderUnavailable
from service.app import create_app
from service.keys import KeyRing
from service.lifecycle import Lifecycle
from service.logs import configure_logs
from service.memory import keep_freed_memory
from service.metrics_port import MetricsServer, listen
from service.protocol import DivertingProtocol
from service.settings import Misconfigured, Settings
from service.tls import Certificate, certificate

log = structlog.stdlib.get_logger("service")


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Exits with status 1 and one line on standard error where the bundle, the execution provider
    or a setting is refused.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to load anew
    # Also while it loads: the first process of a container ignores SIGTERM by default, what a shell
    # starts in the background SIGINT.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    configure_logs(settings)
    keep_freed_memory()
    try:
        tls = certificate(settings)
        app = create_app(settings)
        scrapes = listen(settings)
        app.state.lifecycle.open()
    except (BundleRefused, Misconfigured, ProviderUnavailable) as error:
        raise SystemExit(f"cxr-localizer cannot serve: {error}") from error
    except OSError as error:
        raise SystemExit(
            "cxr-localizer cannot serve: its worker processes need a folder for temporary files "
            f"(TMPDIR): {error}"
        ) from error
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=DivertingProtocol,  # type: ignore[arg-type]  # a buffered one does as well
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.grace_seconds,
        ssl_certfile=tls and tls.chain,
        ssl_keyfile=tls and tls.key,
        ssl_keyfile_password=tls and tls.password,
    )
    # uvicorn has stopped gracefully before it raises Ctrl-C again.
    with contextlib.suppress(KeyboardInterrupt):
        _Server(config, app, tls, scrapes).run()


class _Server(uvicorn.Server):
    """A server that loads keys, certificate and model anew on SIGHUP, says it is draining before
    it closes its port, and has the port of the metrics beside it, if there is one."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: FastAPI,
        tls: Certificate | None,
        scrapes: socket.socket | None,
    ) -> None:
        super().__init__(config)
        self._lifecycle: Lifecycle = app.state.lifecycle
        self._keys: KeyRing | None = app.state.keys
        self._tls = tls
        self._metrics = MetricsServer(self._lifecycle.metrics, scrapes) if scrapes else None
        self._reload: asyncio.Task[None] | None = None
        self._asked = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._metrics is not None:
            self._metrics.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._begin_reload)

    def _begin_reload(self) -> None:
        """One after another; what changes while a reload is under way is loaded after it."""
        if self._keys is not None:
            self._keys.reload()
        self._renew_certificate()
        self._asked = True
        if self._reload is None or self._reload.done():
            self._reload = asyncio.create_task(self._reload_while_asked())

    def _renew_certificate(self) -> None:
        if self._tls is None or self.config.ssl is None:
            return
        try:
            self._tls.load_into(self.config.ssl)
        except Misconfigured as error:
            log.error("certificate refused; the old one stays", reason=str(error))

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
        if self._metrics is not None:
            await self._metrics.stop()
