"""A client for an app that serves the tiny bundle."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from service_helpers import MAX_UPLOAD_BYTES, GatedLocalizer, encode, encode_dicom, wait_until

from localization import ModelBundle
from service.app import create_app
from service.settings import Settings
from service.threads import ThreadEngine


@pytest.fixture(scope="session")
def png() -> bytes:
    return encode("PNG")


@pytest.fixture(scope="session")
def radiographs() -> dict[str, bytes]:
    """The same picture in each format that the service reads."""
    return {
        "PNG": encode("PNG"),
        "JPEG": encode("JPEG", quality=95),
        "JPEG 2000": encode("JPEG2000"),
        "TIFF": encode("TIFF"),
        "WebP": encode("WEBP", quality=95),
        "DICOM": encode_dicom(),
    }


@pytest.fixture
def localizer(tiny_bundle: Path) -> Iterator[GatedLocalizer]:
    localizer = GatedLocalizer(ModelBundle.load(tiny_bundle))
    yield localizer
    localizer.gate.set()


@pytest.fixture
def app(localizer: GatedLocalizer) -> FastAPI:
    settings = Settings(
        workers=1, max_waiting=1, max_upload_bytes=MAX_UPLOAD_BYTES, max_pixels=1_000_000
    )
    return create_app(settings, engine=ThreadEngine(localizer, settings))


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client
