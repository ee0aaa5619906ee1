"""The client: what it sends, how long it is patient, and what its errors say."""

import base64
import inspect
import io
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from PIL import Image

from client import Client, Problem
from service.app import create_app
from service.keys import make_key
from service.schemas import LocalizeParameters
from service.settings import Settings

Reply = httpx.Response | Exception

ANSWER = {"findings": [{"disease": "Mass"}]}
BUSY = {
    "type": "/problems/queue-full",
    "title": "The service is busy",
    "status": 503,
    "detail": "Try again in a moment.",
    "instance": "4711",
}


def answered() -> httpx.Response:
    return httpx.Response(200, json=ANSWER)


def busy(**headers: str) -> httpx.Response:
    return httpx.Response(
        503, json=BUSY, headers={"Content-Type": "application/problem+json", **headers}
    )


class Clock:
    """The client's time, which only its pauses move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    module = SimpleNamespace(monotonic=lambda: clock.now, sleep=clock.sleep)
    monkeypatch.setattr("client.client.time", module)
    return clock


@pytest.fixture
def reply(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[httpx.Request]]:
    """Answer requests with the replies in their order, the last of them for ever."""

    def install(*replies: Reply) -> list[httpx.Request]:
        requests: list[httpx.Request] = []

        def handle(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            each = replies[min(len(requests), len(replies)) - 1]
            if isinstance(each, Exception):
                raise each
            return each

        transport = httpx.MockTransport(handle)
        monkeypatch.setattr(
            httpx.HTTPTransport,
            "handle_request",
            lambda _, request: transport.handle_request(request),
        )
        return requests

    return install


def test_the_radiograph_is_the_whole_body(reply: Callable[..., list[httpx.Request]]) -> None:
    requests = reply(answered())
    with Client("http://chest/v1") as client:
        answer = client.localize(b"radiograph", heatmaps="none", diseases=["Mass", "Nodule"])
    assert answer == ANSWER
    assert requests[0].content == b"radiograph"
    assert requests[0].headers["Content-Type"] == "application/octet-stream"
    assert requests[0].url.path == "/v1/localize"
    assert dict(requests[0].url.params) == {
        "heatmaps": "none",
        "boxes": "positive",
        "picture": "none",
        "steps": "false",
        "diseases": "Mass,Nodule",
    }


def test_it_has_every_choice_that_the_service_has_with_the_same_defaults() -> None:
    ours = inspect.signature(Client.localize).parameters
    theirs = {name: field.default for name, field in LocalizeParameters.model_fields.items()}
    assert {name: ours[name].default for name in list(ours)[2:]} == theirs


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1),
        ({}, 1),
    ],
)
def test_a_busy_service_is_asked_again_after_the_pause_it_names(
    clock: Clock,
    reply: Callable[..., list[httpx.Request]],
    headers: dict[str, str],
    seconds: int,
) -> None:
    requests = reply(busy(**headers), answered())
    with Client() as client:
        assert client.localize(b"radiograph") == ANSWER
    assert [request.content for request in requests] == [b"radiograph"] * 2
    assert len(clock.pauses) == 1
    assert seconds <= clock.pauses[0] <= seconds + 0.5


def test_a_limit_of_requests_is_kept_by_waiting(
    clock: Clock, reply: Callable[..., list[httpx.Request]]
) -> None:
    limited = httpx.Response(429, headers={"Retry-After": "4"})
    requests = reply(limited, answered())
    with Client() as client:
        assert client.localize(b"radiograph") == ANSWER
    assert len(requests) == 2
    assert 4 <= clock.pauses[0] <= 4.5


def test_the_key_goes_along_and_a_wrong_one_is_not_tried_again(
    clock: Clock, reply: Callable[..., list[httpx.Request]]
) -> None:
    requests = reply(httpx.Response(401))
    with Client(key="cxr_4711") as client, pytest.raises(Problem) as caught:
        client.localize(b"radiograph")
    assert [request.headers["Authorization"] for request in requests] == ["Bearer cxr_4711"]
    assert caught.value.status == 401
    assert "4711" not in str(caught.value)
    assert clock.pauses == []


def test_without_a_key_none_is_sent(reply: Callable[..., list[httpx.Request]]) -> None:
    requests = reply(answered())
    with Client() as client:
        client.localize(b"radiograph")
    assert "Authorization" not in requests[0].headers


def test_clients_that_are_turned_away_together_come_back_apart(
    clock: Clock, reply: Callable[..., list[httpx.Request]]
) -> None:
    reply(*[busy()] * 10, answered())
    with Client() as client:
        client.localize(b"radiograph")
    assert len(set(clock.pauses)) == 10


def test_patience_ends(clock: Clock, reply: Callable[..., list[httpx.Request]]) -> None:
    requests = reply(busy(**{"Retry-After": "3"}))
    with Client(patience=10) as client, pytest.raises(Problem) as caught:
        client.localize(b"radiograph")
    assert (caught.value.type, caught.value.status) == ("queue-full", 503)
    assert caught.value.retry_after == 3
    assert len(requests) == len(clock.pauses) + 1
    assert 6.5 <= clock.now <= 10


@pytest.mark.parametrize(("patience", "retry_after"), [(0, "0"), (30, "3600")])
def test_a_pause_longer_than_the_patience_is_not_begun(
    clock: Clock,
    reply: Callable[..., list[httpx.Request]],
    patience: float,
    retry_after: str,
) -> None:
    requests = reply(busy(**{"Retry-After": retry_after}))
    with Client(patience=patience) as client, pytest.raises(Problem, match="busy"):
        client.localize(b"radiograph")
    assert len(requests) == 1
    assert clock.pauses == []


@pytest.mark.parametrize(
    "lost",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("disconnected"),
    ],
)
def test_a_lost_connection_is_tried_again_until_patience_ends(
    clock: Clock, reply: Callable[..., list[httpx.Request]], lost: Exception
) -> None:
    with Client(patience=10) as client:
        reply(lost, lost, answered())
        assert client.localize(b"radiograph") == ANSWER
        assert len(clock.pauses) == 2
        reply(lost)
        with pytest.raises(type(lost)):
            client.localize(b"radiograph")
    assert clock.now <= 2 * 1.5 + 10


def test_a_service_that_stays_silent_is_not_asked_again(
    clock: Clock, reply: Callable[..., list[httpx.Request]]
) -> None:
    requests = reply(httpx.ReadTimeout("silent"))
    with Client() as client, pytest.raises(httpx.ReadTimeout):
        client.localize(b"radiograph")
    assert len(requests) == 1


def test_an_error_that_is_no_problem_document_is_a_problem_all_the_same(
    clock: Clock, reply: Callable[..., list[httpx.Request]]
) -> None:
    requests = reply(httpx.Response(502, html="<h1>Bad Gateway</h1>"))
    with Client() as client, pytest.raises(Problem) as caught:
        client.localize(b"radiograph")
    problem = caught.value
    assert (problem.type, problem.title, problem.status) == ("bad-gateway", "Bad Gateway", 502)
    assert "localhost:8000/localize" in str(problem)
    assert problem.id == ""
    assert len(requests) == 1


def test_members_of_a_problem_that_are_no_text_are_ignored(
    reply: Callable[..., list[httpx.Request]],
) -> None:
    headers = {"Content-Type": "application/problem+json", "X-Request-ID": "4711"}
    document = {"title": "Forbidden here", "detail": ["a", "b"], "instance": None}
    reply(httpx.Response(403, json=document, headers=headers))
    with Client() as client, pytest.raises(Problem, match="Forbidden here: http") as caught:
        client.localize(b"radiograph")
    assert (caught.value.type, caught.value.id) == ("forbidden", "4711")


def test_a_problem_comes_whole_from_another_process(
    reply: Callable[..., list[httpx.Request]],
) -> None:
    reply(busy())
    with Client(patience=0) as client, pytest.raises(Problem) as caught:
        client.localize(b"radiograph")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert vars(copy) == vars(caught.value)
    assert str(copy) == "The service is busy: Try again in a moment."


def encode() -> bytes:
    image = Image.linear_gradient("L")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@contextmanager
def serving(bundle: Path, **settings: Any) -> Iterator[str]:
    """Serve a bundle, through a socket; yields where."""
    app = create_app(Settings(model=bundle, provider="cpu", workers=1, threads=1, **settings))
    server = uvicorn.Server(uvicorn.Config(app, port=0, ws="none", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        deadline = time.monotonic() + 20
        with Client(url) as client:
            while not client.ready():
                assert time.monotonic() < deadline, "the service never became ready"
                time.sleep(0.01)
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def url(tiny_bundle: Path) -> Iterator[str]:
    """Where the tiny bundle is served."""
    with serving(tiny_bundle) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


def test_the_answer_is_the_services_own_from_bytes_and_from_a_file(
    client: Client, url: str, tmp_path: Path
) -> None:
    path = tmp_path / "radiograph.png"
    path.write_bytes(encode())
    expected = httpx.post(f"{url}/localize", content=encode()).json()
    for radiograph in (encode(), path):
        answer = client.localize(radiograph)
        assert answer.pop("id")
        assert answer == {key: expected[key] for key in expected if key != "id"}


def test_a_service_that_needs_a_key_answers_who_has_it(tiny_bundle: Path) -> None:
    key, line = make_key("viewer")
    with serving(tiny_bundle, api_keys=str(line)) as url:
        with Client(url, key=key) as client:
            assert client.localize(encode())["model"]["name"] == "tiny"
        with Client(url) as client, pytest.raises(Problem) as caught:
            client.localize(encode())
    assert (caught.value.type, caught.value.status) == ("unauthorized", 401)


def test_the_choices_reach_the_service(client: Client) -> None:
    answer = client.localize(encode(), heatmaps="values", boxes="none", diseases=["Mass", "Edema"])
    assert {finding["disease"] for finding in answer["findings"]} == {"Mass", "Edema"}
    assert answer["findings"][0]["heatmap"]["encoding"] == "values"
    assert "boxes" not in answer["findings"][0]
    assert "steps" not in answer["findings"][0]
    assert answer["radiograph"].get("picture") is None


def test_the_mining_steps_and_the_picture_come_where_they_are_asked_for(client: Client) -> None:
    answer = client.localize(encode(), steps=True, picture="png")
    assert answer["findings"][0]["steps"]
    picture = answer["radiograph"]["picture"]
    image = Image.open(io.BytesIO(base64.b64decode(picture["data"])))
    assert image.size == (answer["radiograph"]["width"], answer["radiograph"]["height"])


def test_a_radiograph_that_cannot_be_localized_is_a_problem_at_once(
    client: Client, clock: Clock
) -> None:
    with pytest.raises(Problem) as caught:
        client.localize(encode()[:-60])
    problem = caught.value
    assert (problem.type, problem.status) == ("truncated", 422)
    assert problem.detail in str(problem)
    assert problem.id
    assert clock.pauses == []


def test_no_diseases_are_refused_rather_than_taken_for_all(client: Client) -> None:
    with pytest.raises(Problem, match="diseases") as caught:
        client.localize(encode(), diseases=[])
    assert caught.value.type == "invalid-parameters"


def test_threads_share_a_client(client: Client) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(client.localize, [encode()] * 8))
    assert len({answer["id"] for answer in answers}) == 8
    assert all(answer["findings"] == answers[0]["findings"] for answer in answers)


def test_a_service_is_ready_where_it_says_so(
    client: Client, reply: Callable[..., list[httpx.Request]]
) -> None:
    assert client.ready()
    for not_ready in (busy(), httpx.ConnectError("refused"), httpx.ReadTimeout("silent")):
        reply(not_ready)
        assert not client.ready()


def test_a_connection_that_is_reset_is_tried_again(clock: Clock) -> None:
    """A socket that closes on the first request and answers the second."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=hang_up_then_answer, args=(listening,))
        thread.start()
        with Client(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=20) as client:
            assert client.localize(b"radiograph") == {}
        thread.join()
    assert len(clock.pauses) == 1


def hang_up_then_answer(listening: socket.socket) -> None:
    for reply in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"):
        connection, _ = listening.accept()
        with connection:
            received = b""
            while not received.endswith(b"radiograph"):
                received += connection.recv(65536)
            connection.sendall(reply)
