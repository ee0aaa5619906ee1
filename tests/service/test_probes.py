"""What an orchestrator is told: alive, ready, and which model."""

from fastapi import FastAPI
from fastapi.testclient import TestClient
from service_helpers import GatedLocalizer, wait_until


def test_the_service_is_alive_but_not_ready_while_the_model_warms_up(
    app: FastAPI, localizer: GatedLocalizer
) -> None:
    localizer.close()
    with TestClient(app) as client:
        assert localizer.entered.acquire(timeout=20)
        assert client.get("/healthz").status_code == 200
        assert client.get("/v2/health/live").json() == {"live": True}
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["type"] == "/problems/not-ready"
        not_ready = client.get("/v2/health/ready")
        assert (not_ready.status_code, not_ready.json()) == (503, {"ready": False})
        localizer.gate.set()
        wait_until(lambda: client.get("/readyz").status_code == 200)
        assert client.get("/v2/health/ready").json() == {"ready": True}


def test_a_draining_service_is_alive_but_not_ready(
    app: FastAPI, client: TestClient, png: bytes
) -> None:
    app.state.lifecycle.begin_draining()
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "draining" in response.json()["detail"]
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/healthz").status_code == 200
    # Who has not heard of it yet is still served.
    assert client.post("/localize", content=png).status_code == 200


def test_a_service_that_was_never_started_is_not_ready(app: FastAPI) -> None:
    assert TestClient(app).get("/readyz").status_code == 503


def test_the_models_tensors_are_described(client: TestClient) -> None:
    document = client.get("/v2/models/tiny").json()
    assert document["name"] == "tiny"
    assert document["versions"] == ["1"]
    assert document["inputs"] == [
        {"name": "radiographs", "datatype": "UINT8", "shape": [-1, 1, 32, 32]}
    ]
    assert {tensor["name"]: tensor["shape"] for tensor in document["outputs"]} == {
        "probabilities": [-1, 14],
        "heatmaps": [-1, 14, 8, 8],
        "step_heatmaps": [-1, 1, 14, 8, 8],
    }


def test_another_models_name_is_a_404_that_names_the_right_one(client: TestClient) -> None:
    response = client.get("/v2/models/resnet50")
    assert response.status_code == 404
    assert response.json()["type"] == "/problems/unknown-model"
    assert "'tiny'" in response.json()["detail"]
