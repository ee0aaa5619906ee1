"""The OpenAPI document: what /docs shows is what the service does."""

from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from localization import DISEASES
from localization.refusal import REASONS
from service.app import create_app
from service.problems import KINDS
from service.schemas import EXAMPLE_ANSWER, Answer, Problem
from service.settings import Settings


def localize_operation(client: TestClient) -> dict[str, Any]:
    return client.get("/openapi.json").json()["paths"]["/localize"]["post"]


def test_every_way_to_send_a_radiograph_is_described(client: TestClient) -> None:
    content = localize_operation(client)["requestBody"]["content"]
    assert set(content) == {
        "multipart/form-data",
        "image/png",
        "image/jpeg",
        "image/jp2",
        "image/tiff",
        "image/webp",
        "application/dicom",
        "application/octet-stream",
    }


def test_the_choices_are_listed(client: TestClient) -> None:
    parameters = {each["name"]: each for each in localize_operation(client)["parameters"]}
    assert set(parameters) == {"heatmaps", "boxes", "diseases", "steps", "picture"}
    assert parameters["heatmaps"]["schema"]["enum"] == ["png", "values", "none"]
    assert list(DISEASES) in [
        option["items"]["enum"]
        for option in parameters["diseases"]["schema"]["anyOf"]
        if option["type"] == "array"
    ]


def test_the_answer_has_an_example_that_follows_its_schema(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["components"]["schemas"]["Answer"]["examples"] == [EXAMPLE_ANSWER]
    Answer.model_validate(EXAMPLE_ANSWER)


def test_the_example_looks_like_an_answer(
    client: TestClient, radiographs: dict[str, bytes]
) -> None:
    answer = client.post(
        "/localize?diseases=Atelectasis&boxes=all", content=radiographs["DICOM"]
    ).json()
    assert shape(answer) == shape(EXAMPLE_ANSWER)


def shape(value: Any) -> Any:
    """Return what a JSON value is made of; a list by its first item."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return type(value)


def test_every_error_is_a_problem_with_an_example(client: TestClient) -> None:
    responses = localize_operation(client)["responses"]
    assert {"400", "413", "415", "422", "503"} <= set(responses)
    for status, response in responses.items():
        if status != "200":
            (media_type,) = response["content"]
            assert media_type == "application/problem+json"
            for example in response["content"][media_type]["examples"].values():
                assert Problem.model_validate(example["value"]).status == int(status)


def test_every_kind_of_problem_has_an_example_where_it_is_answered(tiny_bundle: Path) -> None:
    app = create_app(Settings(model=tiny_bundle, api_keys=f"a:{'0' * 64}"))
    shown = {
        slug
        for operations in app.openapi()["paths"].values()
        for operation in operations.values()
        for response in operation["responses"].values()
        for media in response.get("content", {}).values()
        for slug in media.get("examples", {})
    }
    assert set(KINDS) <= shown
    assert shown <= {*KINDS, *REASONS}


def test_a_key_that_is_missing_is_described_where_one_is_needed(client: TestClient) -> None:
    app = create_app(Settings(api_keys=f"a:{'0' * 64}"))
    for path, operations in app.openapi()["paths"].items():
        for operation in operations.values():
            assert ("401" in operation["responses"]) == bool(operation["security"]), path
    for operations in client.get("/openapi.json").json()["paths"].values():
        assert all("401" not in operation["responses"] for operation in operations.values())


def test_the_documentation_page_is_there(client: TestClient) -> None:
    assert client.get("/docs").status_code == 200
