"""Structured logs on stdout, with nothing of the patient in them."""

import json
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping

import orjson
import structlog

from service.settings import Settings


def configure_logs(settings: Settings) -> None:
    """Send the service's and uvicorn's logs to stdout, one line per event.

    Once in a process: a logger stays as it was when it was first used.
    """
    # Libraries' warnings and messages quote what they read, and that may be a patient's name.
    warnings.simplefilter("ignore")
    for name in ("pydicom", "PIL"):
        library = logging.getLogger(name)
        # With it its modules' loggers, which being disabled would not have reached.
        library.propagate = False
        library.handlers = [logging.NullHandler()]
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(_json)
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    # The service's own lines do not go through `logging`, which would cost more than all the rest.
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_formatter(shared, renderer))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(settings.log_level.upper())


def _json(event: Mapping[str, object], default: Callable[[object], object]) -> str:
    try:
        return orjson.dumps(event, default=default).decode()
    except TypeError:  # Half a character, as a path may hold, is none to orjson.
        return json.dumps(event, default=default)


def _formatter(
    shared: list[structlog.types.Processor], renderer: structlog.types.Processor
) -> structlog.stdlib.ProcessorFormatter:
    """Of what libraries log."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.PositionalArgumentsFormatter()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def where(error: BaseException) -> list[str]:
    """Return the places that ``error`` came through, innermost last, without its message.

    An unexpected error's message may quote the file it arose from.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
