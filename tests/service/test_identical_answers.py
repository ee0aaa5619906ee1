"""The shipped model answers the same, bit for bit, alone on the machine and in a crowd."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import orjson
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from service_helpers import wait_until

from localization import shipped_bundle
from service.app import create_app
from service.processes import ProcessEngine
from service.settings import Settings

EVERYTHING = "/localize?heatmaps=values&boxes=all"
ID = "7d2f0a52f7e24ad0a8a1f54d7a6d2f5e"


@pytest.fixture(scope="module", params=["int8", "fp32"])
def shipped(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    settings = Settings(
        model=shipped_bundle(),
        provider="cpu",
        precision=request.param,
        workers=2,
        threads=2,
        gate="off",
    )
    engine = ProcessEngine(settings)
    with TestClient(create_app(settings, engine=engine)) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


def chest(seed: int) -> bytes:
    """A smooth picture of lights and shadows, no two seeds the same."""
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 10), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((700, 800), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def answer_to(client: TestClient, data: bytes) -> bytes:
    """The answer to the byte; all are asked for by the same id, the only part that may differ."""
    response = client.post(EVERYTHING, content=data, headers={"X-Request-ID": ID})
    assert response.status_code == 200
    return response.content


def test_a_radiograph_is_answered_alone_as_it_is_among_sixteen(shipped: TestClient) -> None:
    data = chest(0)
    alone = answer_to(shipped, data)
    assert orjson.loads(alone)["findings"][0]["boxes"]
    with ThreadPoolExecutor(16) as callers:
        crowded = list(callers.map(lambda _: answer_to(shipped, data), range(16), timeout=50))
    assert crowded == [alone] * 16


def test_each_of_sixteen_radiographs_is_answered_as_it_is_alone(shipped: TestClient) -> None:
    pictures = [chest(seed) for seed in range(1, 17)]
    with ThreadPoolExecutor(16) as callers:
        crowded = list(
            callers.map(lambda picture: answer_to(shipped, picture), pictures, timeout=50)
        )
    assert crowded == [answer_to(shipped, picture) for picture in pictures]
    assert len(set(crowded)) == 16
