"""Who may ask: open on loopback, by key elsewhere, and what stays open."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from service_helpers import GatedLocalizer, wait_until
from structlog.testing import capture_logs
from test_service_metrics import scrape

from service.access import key_ring
from service.app import create_app
from service.keys import make_key
from service.settings import Misconfigured, Settings
from service.threads import ThreadEngine

KEY, LINE = make_key("viewer")
OTHER, OTHER_LINE = make_key("archive")
BEARER = {"Authorization": f"Bearer {KEY}"}
NEEDED = {"api_keys": f"{LINE} {OTHER_LINE}"}

Serve = Callable[..., Any]


@pytest.fixture
def serve(localizer: GatedLocalizer) -> Serve:
    """Serve by settings of the test's own."""

    @contextmanager
    def serve(**given: Any) -> Iterator[TestClient]:
        settings = Settings(workers=1, **given)
        app = create_app(settings, engine=ThreadEngine(localizer, settings))
        with TestClient(app) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200)
            yield client

    return serve


@pytest.mark.parametrize(
    ("settings", "opened"),
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"host": "127.8.9.10"}, True),
        ({"host": "::1"}, True),
        ({"host": "127.0.0.1", **NEEDED}, False),  # who configures keys wants them asked for
        ({"access": "keys", **NEEDED}, False),
        ({"host": "0.0.0.0", **NEEDED}, False),
        ({"host": "::", **NEEDED}, False),
        ({"host": "0.0.0.0", "access": "open"}, True),
        ({"host": "0.0.0.0", "access": "open", **NEEDED}, True),
    ],
)
def test_who_may_ask_follows_the_address_and_the_settings(
    settings: dict[str, str], opened: bool
) -> None:
    assert (key_ring(Settings(**settings)) is None) == opened


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "192.168.1.7"},
        {"host": "chest.example.org"},
        {"host": ""},
        {"access": "keys"},
    ],
)
def test_where_keys_are_needed_and_there_are_none_it_does_not_start(
    settings: dict[str, str],
) -> None:
    with pytest.raises(Misconfigured, match="cxr-localizer key NAME") as caught:
        create_app(Settings(**settings))
    assert "CXR_ACCESS=open" in str(caught.value)


def test_a_file_without_keys_does_not_open_the_service(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# none yet\n")
    with pytest.raises(Misconfigured, match="there is none"):
        key_ring(Settings(api_keys_file=file))


def test_a_key_is_taken_from_either_header(serve: Serve, png: bytes) -> None:
    with serve(**NEEDED) as client:
        for headers in (
            BEARER,
            {"Authorization": f"bearer  {KEY}"},
            {"X-API-Key": KEY},
            {"X-API-Key": OTHER},
            {"X-API-Key": KEY, "Authorization": "Basic dXNlcjpwYXNz"},  # a proxy's own
        ):
            response = client.post("/localize", content=png, headers=headers)
            assert response.status_code == 200, headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
        {"X-API-Key": str(LINE)},
        {"X-API-Key": "\xe9"},
        {"X-API-Key": KEY, "Authorization": "Bearer wrong"},
    ],
)
def test_without_a_key_the_answer_is_401(serve: Serve, headers: dict[str, str], png: bytes) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    with serve(**NEEDED) as client:
        response = client.post("/localize", content=png, headers=raw)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == "/problems/unauthorized"
    assert problem["instance"] == response.headers["X-Request-ID"]
    assert "Authorization: Bearer KEY" in problem["detail"]
    assert KEY not in response.text


def test_what_orchestrators_and_browsers_open_needs_no_key(serve: Serve) -> None:
    with serve(**NEEDED) as client:
        for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
            assert client.get(path).status_code == 200
        for path in ("/docs", "/docs/start.js", "/openapi.json"):
            assert client.get(path).status_code == 200
        assert client.get("/").status_code != 401
        assert client.get("/page/main.js").status_code != 401


@pytest.mark.parametrize(
    "path", ["/metrics", "/v2/models/tiny", "/nowhere", "/localize/", "/healthz/x"]
)
def test_all_else_needs_a_key(serve: Serve, path: str) -> None:
    with serve(**NEEDED) as client:
        assert client.get(path).status_code == 401
        assert client.get(path, headers=BEARER).status_code != 401


def test_a_refusal_is_counted_and_the_log_names_the_key_and_never_holds_it(
    serve: Serve, png: bytes
) -> None:
    with serve(**NEEDED) as client:
        with capture_logs() as lines:
            client.post("/localize", content=png, headers=BEARER)
            client.post("/localize", content=png, headers={"X-API-Key": "guess-of-a-key"})
        client.headers = BEARER
        samples = scrape(client)
    assert samples["cxr_refusals_total", "unauthorized"] == 1
    assert samples["cxr_requests_total", "denied"] == 1
    assert samples["cxr_requests_total", "refused"] == 0  # nothing of a radiograph
    assert lines[0]["key"] == "viewer"
    assert lines[1]["problem"] == "unauthorized"
    assert "key" not in lines[1]
    for secret in (KEY, "guess-of-a-key", LINE.digest.hex()):
        assert secret not in str(lines)


def test_each_key_has_a_rate_of_its_own(serve: Serve, png: bytes) -> None:
    with serve(**NEEDED, rate_per_minute=1, rate_burst=2) as client:

        def post(key: str) -> Any:
            return client.post("/localize", content=png, headers={"X-API-Key": key})

        assert [post(KEY).status_code for _ in range(3)] == [200, 200, 429]
        assert post(OTHER).status_code == 200
        limited = post(KEY)
        assert client.get("/v2/models/tiny", headers=BEARER).status_code == 200
        client.headers = BEARER
        samples = scrape(client)
    assert samples["cxr_refusals_total", "rate-limited"] == 2
    assert samples["cxr_requests_total", "denied"] == 2
    assert limited.headers["Content-Type"] == "application/problem+json"
    assert limited.json()["type"] == "/problems/rate-limited"
    assert 55 <= int(limited.headers["Retry-After"]) <= 60


def test_wrong_keys_take_nothing_from_the_right_ones_rate(serve: Serve, png: bytes) -> None:
    with serve(**NEEDED, rate_per_minute=1, rate_burst=1) as client:
        for _ in range(20):
            wrong = client.post("/localize", content=png, headers={"X-API-Key": "wrong"})
            assert wrong.status_code == 401
        assert client.post("/localize", content=png, headers=BEARER).status_code == 200


def test_where_access_is_open_each_address_has_a_rate(serve: Serve, png: bytes) -> None:
    with serve(rate_per_minute=1, rate_burst=1) as client:

        def post(address: str) -> int:
            caller = TestClient(client.app, client=(address, 1))
            return caller.post("/localize", content=png).status_code

        assert [post("192.0.2.1"), post("192.0.2.1"), post("192.0.2.2")] == [200, 429, 200]
        # Of IPv6 a caller has not one address but a network.
        assert [post("::ffff:192.0.2.3"), post("192.0.2.3"), post("::ffff:192.0.2.4")] == [
            200,
            429,
            200,
        ]
        assert [post("2001:db8::1"), post("2001:db8::2"), post("2001:db8:1::1")] == [200, 429, 200]


def test_the_document_says_which_paths_need_a_key(serve: Serve) -> None:
    with serve(**NEEDED) as client:
        document = client.get("/openapi.json").json()
    operations = {path: next(iter(each.values())) for path, each in document["paths"].items()}
    assert operations["/localize"]["security"] == [{"bearer": []}, {"header": []}]
    assert operations["/healthz"]["security"] == []
    assert document["components"]["securitySchemes"]["header"]["name"] == "X-API-Key"
    assert {"401", "429"} <= set(operations["/localize"]["responses"])


def test_the_document_of_an_open_service_asks_for_none(client: TestClient) -> None:
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]
