"""The review's process: one server on this machine, until Ctrl-C."""

import contextlib
import socket
import warnings
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from reviewing.addresses import to_open
from reviewing.decisions import ReviewRefused


def serve(app: FastAPI, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; ``tell`` is told what to open once it can be opened.

    Raises:
        ReviewRefused: the address is taken, or not this machine's.
    """
    # Libraries' warnings quote what they read; so would the server's log of an error.
    warnings.simplefilter("ignore")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ReviewRefused(
            f"{host}, port {port}, cannot be listened on: {error.strerror}."
        ) from error
    tell(to_open(host, listening.getsockname()[1]))
    config = uvicorn.Config(
        app, ws="none", log_config=None, log_level="critical", access_log=False, server_header=False
    )
    # uvicorn has stopped gracefully before it raises Ctrl-C again.
    with listening, contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
