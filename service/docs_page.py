"""`/docs`: the interface to look at and to try, without a request to any other host.

FastAPI's own page loads Swagger UI from a CDN, which would tell it who works here. The same files
come with the package fastapi-offline.
"""

from fastapi import APIRouter, FastAPI
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

CSP = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI styles its elements one by one; scripts come from files alone."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>CXR Localizer: interface</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/files/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="docs/files/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""

START = """SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true});
"""

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def page() -> Response:
    """Return the page."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": CSP})


@router.get("/docs/start.js")
async def start() -> Response:
    """Return what opens Swagger UI."""
    return Response(START, media_type="text/javascript")


def add_docs(app: FastAPI) -> None:
    """Serve the page and Swagger UI's files."""
    app.include_router(router)
    app.mount("/docs/files", StaticFiles(packages=[("fastapi_offline", "static")]))
