"""The contract of POST /localize: what a client sends, and what it gets."""

import base64
import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from localization import DISEASES, Radiograph
from service.schemas import Answer

CONTENT_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "JPEG 2000": "image/jp2",
    "TIFF": "image/tiff",
    "WebP": "image/webp",
    "DICOM": "application/dicom",
}


@pytest.mark.parametrize("image_format", CONTENT_TYPES)
@pytest.mark.parametrize("way", ["form", "raw"])
def test_each_format_is_localized_from_a_form_and_from_a_raw_body(
    client: TestClient, radiographs: dict[str, bytes], image_format: str, way: str
) -> None:
    data = radiographs[image_format]
    if way == "form":
        response = client.post("/localize", files={"file": ("chest", data)})
    else:
        headers = {"Content-Type": CONTENT_TYPES[image_format]}
        response = client.post("/localize", content=data, headers=headers)

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert answer["model"] == {"name": "tiny", "version": "1"}
    size = {"format": image_format, "width": 96, "height": 64}
    assert answer["radiograph"].items() >= size.items()
    Answer.model_validate(answer, strict=True)


def test_the_answer_says_which_part_of_the_picture_was_localized(client: TestClient) -> None:
    field = np.random.default_rng(0).integers(60, 200, (200, 300), np.uint8)
    for borders in ((0, 0), (90, 150)):
        file = io.BytesIO()
        Image.fromarray(np.pad(field, (borders, borders))).save(file, "PNG")
        answer = client.post("/localize?boxes=all", content=file.getvalue()).json()
        start, end = borders
        assert answer["radiograph"]["field"] == {
            "x": start,
            "y": start,
            "width": 300,
            "height": 200,
        }
        assert answer["radiograph"]["width"] == start + 300 + end
        for box in answer["findings"][0]["boxes"]:
            assert start <= box["x"] < box["x"] + box["width"] <= start + 300
            assert start <= box["y"] < box["y"] + box["height"] <= start + 200


@pytest.mark.parametrize("content_type", ["image/jpeg", "application/octet-stream", "text/plain"])
def test_the_bytes_decide_the_format_not_the_content_type(
    client: TestClient, png: bytes, content_type: str
) -> None:
    response = client.post("/localize", content=png, headers={"Content-Type": content_type})
    assert response.json()["radiograph"]["format"] == "PNG"


def test_a_body_without_content_type_is_read_as_the_radiograph(
    client: TestClient, png: bytes
) -> None:
    assert client.post("/localize", content=png).status_code == 200


def test_a_file_larger_than_a_megabyte_comes_through_a_form(client: TestClient, png: bytes) -> None:
    padded = png + bytes(1_500_000)
    assert client.post("/localize", files={"file": padded}).status_code == 200


def test_all_findings_come_most_probable_first(client: TestClient, png: bytes) -> None:
    findings = client.post("/localize", content=png).json()["findings"]
    probabilities = [finding["probability"] for finding in findings]
    assert probabilities == sorted(probabilities, reverse=True)
    assert {finding["disease"] for finding in findings} == set(DISEASES)
    assert [finding["positive"] for finding in findings] == [
        finding["probability"] >= finding["threshold"] for finding in findings
    ]


def test_heatmaps_are_png_images_unless_asked_otherwise(client: TestClient, png: bytes) -> None:
    finding = client.post("/localize", content=png).json()["findings"][0]
    heatmap = finding["heatmap"]
    with Image.open(io.BytesIO(base64.b64decode(heatmap["data"]))) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        assert image.size == (heatmap["width"], heatmap["height"])


def test_heatmaps_as_values_are_rows_in_the_unit_interval(client: TestClient, png: bytes) -> None:
    response = client.post("/localize?heatmaps=values", content=png)
    heatmap = response.json()["findings"][0]["heatmap"]
    assert heatmap["encoding"] == "values"
    assert len(heatmap["data"]) == heatmap["height"]
    assert all(len(row) == heatmap["width"] for row in heatmap["data"])
    values = [value for row in heatmap["data"] for value in row]
    assert min(values) >= 0
    assert max(values) <= 1
    # The bright patch lies in the lower right quarter.
    assert values.index(max(values)) // heatmap["width"] >= heatmap["height"] // 2


def test_heatmaps_and_boxes_can_be_left_out(client: TestClient, png: bytes) -> None:
    response = client.post("/localize?heatmaps=none&boxes=none", content=png)
    for finding in response.json()["findings"]:
        assert set(finding) == {"disease", "probability", "threshold", "positive"}


def test_boxes_are_those_of_positive_findings_unless_all_are_asked_for(
    client: TestClient, png: bytes
) -> None:
    usual = client.post("/localize", content=png).json()["findings"]
    everything = client.post("/localize?boxes=all", content=png).json()["findings"]
    assert any(finding["positive"] for finding in usual)
    assert [bool(finding["boxes"]) for finding in usual] == [f["positive"] for f in usual]
    assert all(finding["boxes"] for finding in everything)


def test_boxes_are_in_pixels_of_the_radiograph_that_was_sent(
    client: TestClient, png: bytes
) -> None:
    boxes = client.post("/localize", content=png).json()["findings"][0]["boxes"]
    best = max(boxes, key=lambda box: box["score"])
    assert best["x"] <= 72 <= best["x"] + best["width"] <= 96
    assert best["y"] <= 48 <= best["y"] + best["height"] <= 64


@pytest.mark.parametrize(
    "query", ["diseases=Nodule,Mass", "diseases=Mass&diseases=Nodule", "diseases=Mass,%20Nodule"]
)
def test_only_the_diseases_asked_for_come_back(client: TestClient, png: bytes, query: str) -> None:
    findings = client.post(f"/localize?{query}", content=png).json()["findings"]
    assert [finding["disease"] for finding in findings] == ["Mass", "Nodule"]


def test_the_answers_id_is_the_requests_id(client: TestClient, png: bytes) -> None:
    mine = "7d2f0a52f7e24ad0a8a1f54d7a6d2f5e"
    response = client.post("/localize", content=png, headers={"X-Request-ID": mine})
    assert response.json()["id"] == response.headers["X-Request-ID"] == mine


def test_an_id_that_is_none_is_replaced(client: TestClient, png: bytes) -> None:
    response = client.post("/localize", content=png, headers={"X-Request-ID": "Erika M."})
    assert response.json()["id"] == response.headers["X-Request-ID"] != "Erika M."


def test_two_requests_have_two_ids(client: TestClient, png: bytes) -> None:
    ids = {client.post("/localize", content=png).json()["id"] for _ in range(2)}
    assert len(ids) == 2


def test_an_answer_is_compressed_for_who_asks(client: TestClient, png: bytes) -> None:
    plain = client.post("/localize", content=png, headers={"Accept-Encoding": "identity"})
    small = client.post("/localize", content=png, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) < int(plain.headers["content-length"])
    assert small.json()["findings"] == plain.json()["findings"]


@pytest.mark.parametrize("encoding", ["png", "values"])
def test_steps_come_in_the_encoding_of_the_heat_maps(
    client: TestClient, png: bytes, encoding: str
) -> None:
    answer = client.post(f"/localize?steps=true&heatmaps={encoding}", content=png).json()
    Answer.model_validate(answer, strict=True)
    for finding in answer["findings"]:
        # The tiny model has one step, whose map is the fused one.
        assert finding["steps"] == [finding["heatmap"]]


@pytest.mark.parametrize("image_format", CONTENT_TYPES)
def test_the_picture_is_the_radiograph_as_the_model_saw_it(
    client: TestClient, radiographs: dict[str, bytes], image_format: str
) -> None:
    data = radiographs[image_format]
    answer = client.post("/localize?picture=png", content=data).json()
    Answer.model_validate(answer, strict=True)
    picture = answer["radiograph"]["picture"]
    with Image.open(io.BytesIO(base64.b64decode(picture["data"]))) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        assert image.size == (picture["width"], picture["height"]) == (96, 64)
        np.testing.assert_array_equal(np.asarray(image), Radiograph.read(data).pixels)


def test_steps_and_picture_come_only_where_they_are_asked_for(
    client: TestClient, png: bytes
) -> None:
    answer = client.post("/localize", content=png).json()
    assert "picture" not in answer["radiograph"]
    assert not any("steps" in finding for finding in answer["findings"])
    bare = client.post("/localize?steps=true&heatmaps=none", content=png).json()
    assert not any("steps" in finding for finding in bare["findings"])


def test_the_model_is_named_without_a_radiograph(client: TestClient) -> None:
    assert client.get("/model").json() == {"name": "tiny", "version": "1"}
