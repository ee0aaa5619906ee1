"""The way of POST /localize: FastAPI documents it, and has no part in answering it."""

from functools import lru_cache
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service.observation import LOCALIZE, is_localize
from service.problems import EXPECTED, answer_to
from service.routes import localize
from service.schemas import LocalizeParameters


class FastPath:
    """Pure-ASGI middleware: answers POST /localize, and leaves everything else to the app.

    What follows in the app costs more than the endpoint: its compression, where there is none,
    its handling of errors, its router.
    """

    path = LOCALIZE
    """As of a route, by which the log names it."""

    def __init__(self, app: ASGIApp, minimum_size: int, compresslevel: int) -> None:
        self.app = app
        self._compressed = GZipMiddleware(self._answer, minimum_size, compresslevel)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_localize(scope):
            await self.app(scope, receive, send)
            return
        scope["route"] = self
        if "gzip" in Headers(scope=scope).get("accept-encoding", ""):
            await self._compressed(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await localize(request, parse_parameters(scope["query_string"]))
        except EXPECTED as error:
            response = await answer_to(error, request)
        await response(scope, receive, send)


@lru_cache(maxsize=64)
def parse_parameters(query: bytes) -> LocalizeParameters:
    """Parse a query string; not to be changed. Raises `RequestValidationError` as FastAPI does."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    values: dict[str, object] = dict(pairs)
    if "diseases" in values:
        values["diseases"] = [value for name, value in pairs if name == "diseases"]
    try:
        return LocalizeParameters.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        raise RequestValidationError(
            [{**each, "loc": ("query", *each["loc"])} for each in errors]
        ) from None
