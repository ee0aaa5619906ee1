"""The review's server: its page, the next boxes, the radiographs, and the decisions."""

import sys
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from localization import DISEASES, RadiographRefused
from reviewing.agreement import measure_agreement
from reviewing.decisions import ReviewRefused
from reviewing.desk import Desk, RadiographMissing
from reviewing.queue import NoSuchBox, Walk
from reviewing.same_origin import SameOrigin
from reviewing.schemas import (
    About,
    AgreementOfPairs,
    Appended,
    Judgement,
    Next,
    Reviewer,
    Undone,
    Who,
)
from service import page_files
from service.logs import where
from service.problems import Kind, problem_response
from service.security_headers import SecurityHeaders

NOT_KEPT = {"Cache-Control": "no-store"}
"""Nor on the disk of whoever reviews."""

PAGE = Path(__file__).parent / "page"

_files = StaticFiles(directory=PAGE)
_pages = APIRouter()


def create_app(desk: Desk, *, host: str, reviewer: str | None = None) -> FastAPI:
    """Return the app that shows a desk's boxes and appends what is decided about them.

    Args:
        desk: of the data set.
        host: that it will listen on, see `SameOrigin`.
        reviewer: who reviews where a browser knows no name yet.
    """
    app = FastAPI(title="CXR Localizer review", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(_pages)
    app.include_router(_interface(desk, reviewer))
    _answer_problems(app)
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=1)
    app.add_middleware(SameOrigin, host=host)
    app.add_middleware(SecurityHeaders, tls=False)
    return app


@_pages.get("/")
async def index(request: Request) -> Response:
    """Return the page."""
    return await page_files.serve_file(_files, "index.html", request)


@_pages.get("/review/{name}")
async def file(name: str, request: Request) -> Response:
    """Return a file of the page."""
    return await page_files.serve_file(_files, name, request)


# What it shares with the service's page: the view, heat maps, style and words.
_pages.add_api_route("/page/{name}", page_files.file)


def _not_kept(response: Response) -> None:
    response.headers.update(NOT_KEPT)


def _interface(desk: Desk, reviewer: str | None) -> APIRouter:
    interface = APIRouter(dependencies=[Depends(_not_kept)])
    run = desk.dataset.run

    @interface.get("/about")
    def about() -> About:
        model = f"{run.model.name} {run.model.version}"
        return About(model=model, mode=run.mode, diseases=list(DISEASES), reviewer=reviewer)

    @interface.get("/boxes")
    def next_boxes(
        reviewer: Annotated[Reviewer, Query()],
        walk: Walk = "uncertain",
        disease: str | None = None,
    ) -> Next:
        boxes = [desk.show(each) for each in desk.queue.next(reviewer, walk, disease)]
        return Next(boxes=boxes, progress=desk.queue.progress(reviewer, walk, disease))

    @interface.get("/boxes/{id}/picture")
    def picture(id: int) -> Response:
        return Response(desk.picture(id), media_type="image/png", headers=NOT_KEPT)

    @interface.post("/boxes/{id}/decisions", status_code=201)
    def decide(id: int, judgement: Judgement) -> Appended:
        return Appended(id=desk.judge(id, judgement))

    @interface.post("/boxes/{id}/skip", status_code=204)
    def skip(id: int, who: Who) -> None:
        desk.queue.skip(who.reviewer, desk.queue.get(id).id)

    @interface.post("/undo")
    def undo(who: Who) -> Undone:
        return Undone(box=desk.undo(who.reviewer))

    @interface.get("/agreement")
    def agreement() -> AgreementOfPairs:
        return AgreementOfPairs(pairs=measure_agreement(desk.log))

    return interface


KINDS: dict[type[Exception], tuple[str, Kind]] = {
    NoSuchBox: ("unknown-box", Kind(404, "No such box")),
    RadiographMissing: ("no-radiograph", Kind(404, "The radiograph is not at its source")),
    RadiographRefused: ("unreadable", Kind(422, "The radiograph cannot be read any more")),
    ReviewRefused: ("decision", Kind(422, "This cannot be decided")),
}
"""Their messages are for people, and hold nothing of the patient."""

INVALID = Kind(422, "The request is not valid")
FAILED = Kind(500, "The review's server failed")


def _answer_problems(app: FastAPI) -> None:
    """Answer errors as problems."""
    for kind in KINDS:
        app.add_exception_handler(kind, _expected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)


async def _expected(request: Request, error: Exception) -> Response:
    slug, kind = KINDS[type(error)]
    return problem_response(request.scope, slug, str(error), kind=kind)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    detail = "; ".join(
        f"{'.'.join(str(part) for part in each['loc'][1:])}: {each['msg']}"
        for each in error.errors()
    )
    return problem_response(request.scope, "invalid", detail, kind=INVALID)


async def _failed(request: Request, error: Exception) -> Response:
    # Its place in the code: its message may quote a file.
    print(type(error).__name__, *where(error), sep="\n  ", file=sys.stderr)
    detail = "An unexpected error occurred; the terminal of the review says where."
    return problem_response(request.scope, "internal-error", detail, kind=FAILED)
