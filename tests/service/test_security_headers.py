"""What every answer tells a browser."""

import re

import pytest
from fastapi.testclient import TestClient
from service_helpers import GatedLocalizer

from service.app import create_app
from service.settings import Settings


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/metrics"),
        ("GET", "/docs"),
        ("GET", "/docs/files/swagger-ui.css"),
        ("GET", "/openapi.json"),
        ("GET", "/nowhere"),
        ("POST", "/localize"),
    ],
)
def test_every_answer_is_kept_from_guesses_referrers_and_other_sites(
    client: TestClient, method: str, path: str
) -> None:
    headers = client.request(method, path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in headers


def test_an_unexpected_error_has_them_too(
    client: TestClient, localizer: GatedLocalizer, png: bytes
) -> None:
    def fail(inputs: object, *, alone: bool) -> None:
        raise KeyError("x")

    localizer.infer = fail  # type: ignore[method-assign]
    response = client.post("/localize", content=png)
    assert response.status_code == 500
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"


def test_a_localization_is_stored_by_no_one(client: TestClient, png: bytes) -> None:
    for content in (png, b"", png[:-40]):
        assert client.post("/localize", content=content).headers["Cache-Control"] == "no-store"


def test_hsts_comes_with_tls_alone() -> None:
    tls = create_app(Settings(tls_certificate="chain.pem", tls_key="key.pem"))
    headers = TestClient(tls).get("/healthz").headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000"


def test_the_documentation_asks_no_other_host(client: TestClient) -> None:
    page = client.get("/docs")
    assert "//" not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert page.headers["X-Frame-Options"] == "DENY"
    assert "camera=()" in page.headers["Permissions-Policy"]
    loaded = re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text)
    assert len(loaded) == 3
    for path in loaded:
        response = client.get(f"/{path}")
        assert response.status_code == 200
        expected = "text/css" if path.endswith(".css") else "text/javascript"
        assert response.headers["Content-Type"].startswith(expected)
    assert "SwaggerUIBundle" in client.get("/docs/files/swagger-ui-bundle.js").text


def test_inline_scripts_have_no_place_in_the_documentation(client: TestClient) -> None:
    for script in re.findall(r"<script[^>]*>(.*?)</script>", client.get("/docs").text, re.S):
        assert script == ""
