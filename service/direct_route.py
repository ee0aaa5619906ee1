"""A route whose parameters FastAPI documents, but does not solve anew for each request."""

from functools import lru_cache
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from service.schemas import LocalizeParameters


class DirectRoute(APIRoute):
    """Calls an endpoint with the request and its `LocalizeParameters`, and nothing between."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of a path that matches."""
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        parameters = parse_parameters(scope["query_string"])
        response = await self.endpoint(Request(scope, receive, send), parameters)
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
