"""Each bad request is a problem of its own type, never a 500, and leaves the service well."""

import io
import struct
import zlib
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from PIL import Image
from service_helpers import MAX_UPLOAD_BYTES, GatedLocalizer, encode, encode_dicom

from localization import DISEASES


def assert_problem(response: Response, status: int, slug: str) -> dict[str, object]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == f"/problems/{slug}"
    assert problem["status"] == status
    assert problem["instance"] == response.headers["X-Request-ID"]
    assert problem["title"]
    assert problem["detail"]
    return problem


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


def animation() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("L", (64, 64), shade) for shade in (50, 150)]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


FILES = {
    "empty body": b"",
    "text named .png": b"This is not a radiograph, whatever its name says.\n" * 9,
    "truncated PNG": encode("PNG")[:-60],
    "truncated JPEG": encode("JPEG")[:-200],
    "truncated DICOM": encode_dicom()[:-2000],
    "30,000 x 30,000 PNG header": png_header(30_000, 30_000),
    "CT slice": encode_dicom(ct=True),
    "DICOM without pixels": encode_dicom(with_pixels=False),
    "multi-frame DICOM": encode_dicom(frames=3),
    "animated image": animation(),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("way", ["form", "raw"])
def test_a_file_that_cannot_be_localized_is_a_4xx_and_the_next_good_one_is_answered(
    client: TestClient, png: bytes, name: str, way: str
) -> None:
    if way == "form":
        response = client.post("/localize", files={"file": ("chest.png", FILES[name])})
    else:
        response = client.post("/localize", content=FILES[name])
    assert 400 <= response.status_code < 500
    slug = response.json()["type"].removeprefix("/problems/")
    assert_problem(response, response.status_code, slug)
    assert client.post("/localize", content=png).status_code == 200


def test_different_failings_have_different_types(client: TestClient) -> None:
    types = {
        name: client.post("/localize", content=data).json()["type"] for name, data in FILES.items()
    }
    truncated = {types.pop(f"truncated {form}") for form in ("PNG", "JPEG", "DICOM")}
    several = {types.pop("multi-frame DICOM"), types.pop("animated image")}
    assert len(set(types.values())) == len(types)
    assert not truncated & several
    assert not (truncated | several) & set(types.values())


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("empty body", 400),
        ("text named .png", 415),
        ("30,000 x 30,000 PNG header", 413),
        ("truncated PNG", 422),
        ("CT slice", 422),
    ],
)
def test_the_status_says_whose_rule_was_broken(client: TestClient, name: str, status: int) -> None:
    assert client.post("/localize", content=FILES[name]).status_code == status


def test_a_form_without_the_field_file_says_what_to_send(client: TestClient, png: bytes) -> None:
    response = client.post("/localize", files={"image": png})
    problem = assert_problem(response, 400, "missing-file")
    assert "file=@" in str(problem["detail"])


def test_a_text_field_named_file_is_no_file(client: TestClient) -> None:
    response = client.post("/localize", files={"file": (None, "chest.png")})
    assert_problem(response, 400, "missing-file")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"no boundary here"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx"),
    ],
)
def test_a_broken_form_is_a_problem(client: TestClient, content_type: str, body: bytes) -> None:
    response = client.post("/localize", content=body, headers={"Content-Type": content_type})
    assert response.status_code == 400
    assert response.json()["type"] in ("/problems/invalid-multipart", "/problems/missing-file")


def test_two_files_are_refused_rather_than_one_ignored(client: TestClient, png: bytes) -> None:
    response = client.post("/localize", files=[("file", png), ("file", png)])
    assert_problem(response, 400, "invalid-multipart")


def test_an_upload_that_says_it_is_too_large_is_refused(client: TestClient, png: bytes) -> None:
    response = client.post("/localize", content=bytes(MAX_UPLOAD_BYTES + 1))
    assert_problem(response, 413, "upload-too-large")
    assert response.headers["connection"] == "close"
    assert client.post("/localize", content=png).status_code == 200


@pytest.mark.parametrize("content_type", ["image/png", "multipart/form-data; boundary=b"])
def test_an_upload_that_grows_too_large_is_refused(
    client: TestClient, png: bytes, content_type: str
) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(5):
            yield bytes(MAX_UPLOAD_BYTES // 4)

    headers = {"Content-Type": content_type}
    response = client.post("/localize", content=chunks(), headers=headers)
    assert_problem(response, 413, "upload-too-large")
    assert client.post("/localize", content=png).status_code == 200


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("heatmaps=jpeg", "heatmaps"), ("boxes=some", "boxes"), ("heatmap=none", "heatmap")],
)
def test_a_wrong_parameter_is_named(
    client: TestClient, png: bytes, query: str, parameter: str
) -> None:
    problem = assert_problem(
        client.post(f"/localize?{query}", content=png), 422, "invalid-parameters"
    )
    (error,) = problem["errors"]
    assert error["parameter"] == parameter
    assert parameter in problem["detail"]


@pytest.mark.parametrize("query", ["diseases=Mass,Gout", "diseases="])
def test_an_unknown_disease_is_answered_with_the_known_ones(
    client: TestClient, png: bytes, query: str
) -> None:
    response = client.post(f"/localize?{query}", content=png)
    problem = assert_problem(response, 422, "invalid-parameters")
    assert all(disease in problem["detail"] for disease in DISEASES)


def test_an_unknown_path_and_a_wrong_method_are_problems(client: TestClient) -> None:
    assert_problem(client.get("/nowhere"), 404, "not-found")
    response = client.get("/localize")
    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"


def test_an_unexpected_error_is_a_500_that_tells_nothing_of_the_inside(
    app: FastAPI, client: TestClient, localizer: GatedLocalizer, png: bytes
) -> None:
    def fail(inputs: object, *, alone: bool) -> None:
        raise RuntimeError("secret of Mustermann^Erika")

    localizer.infer = fail  # type: ignore[method-assign]
    response = client.post("/localize", content=png)
    assert_problem(response, 500, "internal-error")
    assert "secret" not in response.text
    assert "Error" not in response.text
    del localizer.infer
    assert client.post("/localize", content=png).status_code == 200
