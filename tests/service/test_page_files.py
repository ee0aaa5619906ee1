"""The page as files: how they come, how they are kept, and what they may do."""

import re

import pytest
from fastapi.testclient import TestClient

from service.page_files import FOLDER

NAMES = sorted(path.name for path in FOLDER.iterdir())
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def test_the_page_is_at_the_root_and_names_files_that_are_there(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "not for clinical use" in page.text
    named = re.findall(r'(?:src|href)="(page/[^"]+)"', page.text)
    assert len(named) > 5
    for name in named:
        assert client.get(f"/{name}").status_code == 200


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in NAMES)])
def test_each_file_has_its_type_and_its_policy(client: TestClient, path: str) -> None:
    response = client.get(path)
    ending = path.rpartition(".")[2] if "." in path else "html"
    assert response.headers["content-type"] == TYPES[ending]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    policy = response.headers["content-security-policy"].split("; ")
    assert {
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    } <= set(policy)
    assert "unsafe" not in response.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/page/style.css"])
def test_a_file_that_has_not_changed_is_not_sent_again(client: TestClient, path: str) -> None:
    first = client.get(path)
    assert first.headers["cache-control"] == "no-cache"
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "content-security-policy" in again.headers


def test_files_come_compressed_where_the_browser_reads_that(client: TestClient) -> None:
    response = client.get("/page/style.css", headers={"Accept-Encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert response.text == (FOLDER / "style.css").read_text()


def test_all_files_together_are_small() -> None:
    assert sum((FOLDER / name).stat().st_size for name in NAMES) < 65_000


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapp.py", "%2e%2e%2fapp.py", "%00"])
def test_other_files_are_not_served(client: TestClient, name: str) -> None:
    response = client.get(f"/page/{name}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


def test_a_head_request_gets_the_headers_alone(client: TestClient) -> None:
    response = client.head("/")
    assert (response.status_code, response.content) == (200, b"")


def test_the_page_sits_on_no_path_of_the_interface(client: TestClient) -> None:
    assert client.get("/localize").status_code == 405
    assert client.get("/nothing").status_code == 404
