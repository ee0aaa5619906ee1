"""The app: `create_app` puts the rooms of the service together."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from service.engine import Engine
from service.lifecycle import Lifecycle
from service.observation import ObserveRequests
from service.page_files import router as page
from service.problems import install_problem_handlers
from service.routes import router
from service.settings import Settings
from service.upload_limit import UploadLimit

DESCRIPTION = (
    "Localizes thoracic diseases in chest radiographs: probabilities, heat maps and boxes. "
    "For research; not a medical device."
)


def create_app(settings: Settings | None = None, *, engine: Engine | None = None) -> FastAPI:
    """Return the app that serves the model named in ``settings``, or by an ``engine`` given.

    ``settings`` are read from the environment by default. Starting the app raises
    `localization.BundleRefused` or `localization.ProviderUnavailable` where it cannot serve.
    """
    settings = settings or Settings()
    lifecycle = Lifecycle(settings, engine)
    app = FastAPI(
        title="CXR Localizer",
        description=DESCRIPTION,
        version=_version(),
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.lifecycle = lifecycle
    app.include_router(router)
    app.include_router(page)
    install_problem_handlers(app)
    # At the lowest level an answer shrinks to less than half; higher ones gain little.
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=1)
    # The last one added is the outermost: every answer has an id, every outcome is seen.
    app.add_middleware(
        UploadLimit,
        max_bytes=settings.max_upload_bytes,
        max_held=settings.max_held_bytes,
        seconds=settings.upload_seconds,
    )
    app.add_middleware(ObserveRequests, metrics=lifecycle.metrics)
    app.add_middleware(CorrelationIdMiddleware)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    lifecycle: Lifecycle = app.state.lifecycle
    await lifecycle.start()
    yield
    await lifecycle.stop()


def _version() -> str:
    try:
        return version("cxr-localizer")
    except PackageNotFoundError:
        return "0"  # run from a checkout that is not installed
