"""The page: its files, and the headers that say what it may do."""

import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

FOLDER = Path(__file__).parent / "page"

HEADERS = {
    # It runs its own files alone, talks to its own service alone, and no site may frame it.
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob: data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A browser keeps the files and asks each time whether they have changed: an upgraded service
    # never meets half of an old page.
    "Cache-Control": "no-cache",
}

# RFC 9239; Python before 3.12 has the older name.
mimetypes.add_type("text/javascript", ".js")

router = APIRouter(include_in_schema=False)
_files = StaticFiles(directory=FOLDER)


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    """Return the page."""
    return await serve_file(_files, "index.html", request)


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
async def file(name: str, request: Request) -> Response:
    """Return a file of the page."""
    return await serve_file(_files, name, request)


async def serve_file(files: StaticFiles, name: str, request: Request) -> Response:
    """Return a page's file, with the headers that say what it may do."""
    response = await files.get_response(name, request.scope)
    response.headers.update(HEADERS)
    return response
