"""The app: `create_app` puts the rooms of the service together."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from service.access import Access, key_ring, rate_limit
from service.docs_page import add_docs
from service.documentation import describe_keys
from service.engine import Engine
from service.fast_path import FastPath
from service.lifecycle import Lifecycle
from service.observation import ObserveRequests
from service.page_files import router as page
from service.problems import install_problem_handlers
from service.routes import add_localize, metrics_router, router
from service.security_headers import SecurityHeaders
from service.settings import Settings
from service.upload_limit import UploadLimit
from service.version import installed_version

DESCRIPTION = (
    "Localizes thoracic diseases in chest radiographs: probabilities, heat maps and boxes. "
    "For research; not a medical device."
)

COMPRESSED_BYTES = 1024
"""Answers of so many bytes are compressed for who asks for it, and longer ones."""

COMPRESSION = 1
"""At the lowest level an answer shrinks to less than half; higher ones gain little."""


def create_app(settings: Settings | None = None, *, engine: Engine | None = None) -> FastAPI:
    """Return the app that serves the model named in ``settings``, or by an ``engine`` given.

    ``settings`` are read from the environment by default. Starting the app raises
    `localization.BundleRefused` or `localization.ProviderUnavailable` where it cannot serve.
    Raises `service.settings.Misconfigured` where keys are needed and there are none.
    """
    settings = settings or Settings()
    keys = key_ring(settings)
    lifecycle = Lifecycle(settings, engine)
    app = FastAPI(
        title="CXR Localizer",
        description=DESCRIPTION,
        version=installed_version(),
        docs_url=None,
        redoc_url=None,
        # FastAPI's own, which an environment variable alone would switch on, tells queries and the
        # messages of errors; either may name a patient.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        lifespan=_lifespan,
    )
    app.state.lifecycle = lifecycle
    app.state.keys = keys
    add_localize(app)
    app.include_router(router)
    if not settings.metrics_port:
        app.include_router(metrics_router)
    add_docs(app)
    if keys is not None:
        describe_keys(app)
    app.include_router(page)
    install_problem_handlers(app)
    # The last one added is the outermost: every answer has an id, every outcome is seen.
    for layer in (GZipMiddleware, FastPath):
        app.add_middleware(layer, minimum_size=COMPRESSED_BYTES, compresslevel=COMPRESSION)
    app.add_middleware(
        UploadLimit,
        max_bytes=settings.max_upload_bytes,
        max_held=settings.max_held_bytes,
        seconds=settings.upload_seconds,
        retry_after=lifecycle.admission.seconds_until_empty,
    )
    app.add_middleware(Access, keys=keys, limit=rate_limit(settings))
    app.add_middleware(ObserveRequests, metrics=lifecycle.metrics, tracer=lifecycle.tracer)
    app.add_middleware(SecurityHeaders, tls=settings.tls_certificate is not None)
    app.add_middleware(CorrelationIdMiddleware)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    lifecycle: Lifecycle = app.state.lifecycle
    await lifecycle.start()
    yield
    await lifecycle.stop()
