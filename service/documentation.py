"""The parts of the OpenAPI document that the handlers' signatures cannot say."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from service.access import is_open
from service.problems import CANNOT_BE_LOCALIZED, KINDS, MEDIA_TYPE, Kind
from service.schemas import EXAMPLE_ANSWER, Problem

_FILE: dict[str, Any] = {"type": "string", "format": "binary"}

UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A PNG, JPEG, JPEG 2000, TIFF, WebP or DICOM file. Its bytes decide, not "
        "the content type.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": _FILE},
                }
            },
            "image/png": {"schema": _FILE},
            "image/jpeg": {"schema": _FILE},
            "image/jp2": {"schema": _FILE},
            "image/tiff": {"schema": _FILE},
            "image/webp": {"schema": _FILE},
            "application/dicom": {"schema": _FILE},
            "application/octet-stream": {"schema": _FILE},
        },
    }
}

KEYS: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


UNAUTHORIZED = (
    "An API key is needed. Send one as `Authorization: Bearer KEY` or as `X-API-Key: KEY`."
)


def describe_keys(app: FastAPI) -> None:
    """Make the document of ``app`` say which operations need an API key, how to send it, and what
    becomes of a request without."""
    undescribed = app.openapi

    def openapi() -> dict[str, Any]:
        document = undescribed()
        document["components"]["securitySchemes"] = KEYS
        for path, operations in document["paths"].items():
            for operation in operations.values():
                operation["security"] = [] if is_open(path) else [{name: []} for name in KEYS]
                if not is_open(path):
                    operation["responses"] |= _by_text(problems(unauthorized=UNAUTHORIZED))
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def problems(**examples: str) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI responses: the details of the kinds of problems that a route answers.

    The keys are the slugs of `service.problems.KINDS`, with underscores.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for name, detail in examples.items():
        slug = name.replace("_", "-")
        kind = KINDS.get(slug, CANNOT_BE_LOCALIZED)
        response = responses.setdefault(kind.status, _problem_response(kind.status))
        response["content"][MEDIA_TYPE]["examples"][slug] = {"value": _document(slug, kind, detail)}
    return responses


def _by_text(responses: dict[int | str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(status): response for status, response in responses.items()}


def _problem_response(status: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema(), "examples": {}}}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _document(slug: str, kind: Kind, detail: str) -> dict[str, Any]:
    return {
        "type": f"/problems/{slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": EXAMPLE_ANSWER["id"],
    }
