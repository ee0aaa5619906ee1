"""Errors as RFC 9457 ``application/problem+json``, each kind with a ``type`` that stays."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple

import orjson
from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from localization import RadiographRefused

MEDIA_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """A kind of problem: the status it is answered with, and its name for people."""

    status: int
    title: str


CANNOT_BE_LOCALIZED = Kind(422, "This file cannot be localized")
"""The kind of every reason of a `RadiographRefused` that the table does not name."""

KINDS: dict[str, Kind] = {
    # The radiograph: the slugs are the reasons of localization.RadiographRefused.
    "empty": Kind(400, "The request holds no radiograph"),
    "unsupported-format": Kind(415, "This is not a PNG, JPEG, JPEG 2000, TIFF, WebP or DICOM file"),
    "too-many-pixels": Kind(413, "The radiograph has too many pixels"),
    # The request.
    "invalid-multipart": Kind(400, "The multipart body cannot be read"),
    "missing-file": Kind(400, "The form has no file"),
    "invalid-parameters": Kind(422, "A query parameter is not valid"),
    "upload-too-large": Kind(413, "The upload is too large"),
    "upload-too-slow": Kind(408, "The upload took too long"),
    "unauthorized": Kind(401, "An API key is needed"),
    "rate-limited": Kind(429, "Too many requests"),
    "unknown-model": Kind(404, "No such model"),
    # The service.
    "queue-full": Kind(503, "The service is busy"),
    "too-much-held": Kind(503, "The service is busy"),
    "too-late": Kind(504, "The service did not answer in time"),
    "not-ready": Kind(503, "The service is not ready"),
    "internal-error": Kind(500, "The service failed"),
}


class Refused(Exception):
    """A request that the service turns down, with the slug of its kind in `KINDS`."""

    def __init__(self, slug: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.headers = headers


def problem_response(
    scope: Scope,
    slug: str,
    detail: str,
    *,
    kind: Kind | None = None,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, str]] | None = None,
    evidence: Mapping[str, float | str] | None = None,
) -> Response:
    """Return the problem as a response, and leave its slug in ``scope`` for log and metrics."""
    kind = kind or KINDS.get(slug, CANNOT_BE_LOCALIZED)
    scope.setdefault("state", {})["problem"] = slug
    document: dict[str, object] = {
        "type": f"/problems/{slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": correlation_id.get(),
    }
    if errors:
        document["errors"] = errors
    if evidence:
        document["evidence"] = evidence
    return Response(orjson.dumps(document), kind.status, headers, MEDIA_TYPE)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return problem_response(request.scope, error.slug, error.detail, headers=error.headers)


async def _radiograph_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RadiographRefused)
    return problem_response(request.scope, error.reason, str(error), evidence=error.evidence)


async def _invalid_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"parameter": str(each["loc"][1]), "detail": str(each["msg"])} for each in error.errors()
    ]
    detail = "; ".join(f"{each['parameter']}: {each['detail']}" for each in errors)
    return problem_response(request.scope, "invalid-parameters", detail, errors=errors)


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer what the framework itself refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    return problem_response(
        request.scope,
        phrase.lower().replace(" ", "-"),
        f"{request.method} is not served at this path; /docs lists what is.",
        kind=Kind(error.status_code, phrase),
        headers=error.headers,
    )


_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    Refused: _refused,
    RadiographRefused: _radiograph_refused,
    RequestValidationError: _invalid_parameters,
    HTTPException: _http_error,
}

EXPECTED: tuple[type[Exception], ...] = tuple(_HANDLERS)
"""The errors that are answered as problems."""


async def answer_to(error: Exception, request: Request) -> Response:
    """Return the problem that an expected error is."""
    handler = next(_HANDLERS[kind] for kind in EXPECTED if isinstance(error, kind))
    return await handler(request, error)


def install_problem_handlers(app: FastAPI) -> None:
    """Make ``app`` answer every error that it expects as a problem."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
