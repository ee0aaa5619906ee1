"""A route whose parameters FastAPI documents, but does not solve anew for each request."""

from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError

from service.schemas import LocalizeParameters


class DirectRoute(APIRoute):
    """Calls an endpoint with the request and its `LocalizeParameters`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers; FastAPI's own would go through the endpoint's signature."""

        async def handle(request: Request) -> Response:
            response: Response = await self.endpoint(
                request, parse_parameters(request.scope["query_string"])
            )
            return response

        return handle


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
