"""The review's server: what it answers, what it refuses, and what it never tells."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from review_helpers import MASS, NODULE

from harvesting.dataset import Dataset
from localization import Radiograph
from reviewing.app import PAGE, create_app
from reviewing.desk import Desk
from reviewing.log import Log
from reviewing.log_file import REVIEWS
from reviewing.queue import Queue

BASE = "http://127.0.0.1:8100"


def read(path: str) -> bytes:
    """The radiographs of the small harvest; that of b.png is gone."""
    if path != "a.png":
        raise FileNotFoundError(path)
    pixels = np.tile(np.linspace(0, 255, 100, dtype=np.uint8), (80, 1))
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture
def desk(dataset: Dataset, log: Log) -> Desk:
    return Desk.open(dataset, log, read)


@pytest.fixture
def client(desk: Desk) -> Iterator[TestClient]:
    with TestClient(create_app(desk, host="127.0.0.1"), base_url=BASE) as client:
        yield client


def next_box(client: TestClient, reviewer: str = "ann", **which: str) -> dict[str, Any]:
    answer = client.get("/boxes", params={"reviewer": reviewer, **which}).json()
    return answer["boxes"][0]


def decide(client: TestClient, id: int, **decision: object) -> Any:
    return client.post(f"/boxes/{id}/decisions", json={"reviewer": "ann", **decision})


def rows(folder: Path) -> list[tuple[object, ...]]:
    database = sqlite3.connect(folder / REVIEWS)
    try:
        return database.execute(
            "SELECT reviewer, disease, action, x, y, width, height, new_disease FROM decisions"
        ).fetchall()
    finally:
        database.close()


def test_a_box_comes_with_all_that_is_drawn_of_it(client: TestClient) -> None:
    box = next_box(client, disease="Mass")
    assert (box["disease"], box["place"], box["labelled"], box["disputed"]) == (
        "Mass",
        0,
        True,
        False,
    )
    assert box["edges"] == {"x": 10, "y": 10, "width": 20, "height": 20}
    assert [other["x"] for other in box["others"]] == [50]
    assert box["heatmap"]["data"] == [[pytest.approx(0.5, abs=0.01)] * 5] * 4
    assert box["radiograph"]["field"] == {"x": 0, "y": 0, "width": 100, "height": 80}


def test_the_radiograph_comes_as_it_is(client: TestClient) -> None:
    box = next_box(client, disease="Mass")
    picture = client.get(f"/boxes/{box['id']}/picture")
    assert picture.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(
        Radiograph.read(picture.content, policy="off").pixels,
        Radiograph.read(read("a.png"), policy="off").pixels,
    )


def test_what_is_answered_is_kept_on_no_disk(client: TestClient) -> None:
    box = next_box(client, disease="Mass")
    for path in ("/about", "/boxes?reviewer=ann", f"/boxes/{box['id']}/picture", "/agreement"):
        assert client.get(path).headers["cache-control"] == "no-store"


def test_a_radiograph_that_is_gone_is_told_without_its_name(client: TestClient) -> None:
    box = next_box(client)
    answer = client.get(f"/boxes/{box['id']}/picture")
    assert answer.status_code == 404
    assert "--source" in answer.json()["detail"]
    assert "b.png" not in answer.text


def test_decisions_are_appended_with_the_edges_that_hold(client: TestClient, folder: Path) -> None:
    id = next_box(client, disease="Mass")["id"]
    moved = {"x": 1, "y": 2, "width": 3, "height": 4}
    for decision in (
        {"action": "accept"},
        {"action": "move", "edges": moved},
        {"action": "reject"},
        {"action": "relabel", "new_disease": "Nodule"},
        {"action": "relabel", "new_disease": "Nodule", "edges": moved},
    ):
        assert decide(client, id, **decision).status_code == 201
    assert rows(folder) == [
        ("ann", "Mass", "accept", 10, 10, 20, 20, None),
        ("ann", "Mass", "move", 1, 2, 3, 4, None),
        ("ann", "Mass", "reject", None, None, None, None, None),
        ("ann", "Mass", "relabel", 10, 10, 20, 20, "Nodule"),
        ("ann", "Mass", "relabel", 1, 2, 3, 4, "Nodule"),
    ]


@pytest.mark.parametrize(
    "decision",
    [
        {"action": "move"},
        {"action": "move", "edges": {"x": 90, "y": 0, "width": 20, "height": 4}},
        {"action": "move", "edges": {"x": -1, "y": 0, "width": 20, "height": 4}},
        {"action": "move", "edges": {"x": 0, "y": 0, "width": 0, "height": 4}},
        {"action": "accept", "edges": {"x": 0, "y": 0, "width": 1, "height": 4}},
        {"action": "reject", "edges": {"x": 0, "y": 0, "width": 1, "height": 4}},
        {"action": "relabel"},
        {"action": "relabel", "new_disease": "Mass"},
        {"action": "relabel", "new_disease": "Measles"},
        {"action": "delete"},
        {"action": "accept", "reviewer": "  "},
        {"action": "accept", "reviewer": "x" * 65},
        {"action": "accept", "reviewer": "a\nb"},
    ],
)
def test_what_cannot_be_decided_is_refused_and_not_logged(
    client: TestClient, folder: Path, decision: dict[str, object]
) -> None:
    id = next_box(client, disease="Mass")["id"]
    answer = decide(client, id, **decision)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert rows(folder) == []


def test_a_box_that_reaches_over_the_edge_by_rounding_is_kept_within(
    client: TestClient, folder: Path
) -> None:
    id = next_box(client, disease="Mass")["id"]
    decide(client, id, action="move", edges={"x": 90, "y": 0, "width": 10.2, "height": 4})
    [row] = rows(folder)
    assert row[3:7] == (90, 0, 10, 4)


def test_a_stale_page_still_appends_and_the_last_one_counts(
    client: TestClient, log: Log, folder: Path
) -> None:
    id = next_box(client)["id"]
    decide(client, id, action="accept")
    decide(client, id, action="reject")
    assert len(rows(folder)) == 2
    last = log.last("ann")
    assert last is not None
    assert (last.of, last.action) == (NODULE, "reject")


def test_undo_gives_the_box_back(client: TestClient) -> None:
    id = next_box(client)["id"]
    decide(client, id, action="accept")
    assert next_box(client)["disease"] == "Mass"
    assert client.post("/undo", json={"reviewer": "ann"}).json()["box"]["id"] == id
    assert next_box(client)["id"] == id
    assert client.post("/undo", json={"reviewer": "ann"}).json() == {"box": None}


def test_a_skipped_box_is_not_logged(client: TestClient, folder: Path) -> None:
    id = next_box(client)["id"]
    assert client.post(f"/boxes/{id}/skip", json={"reviewer": "ann"}).status_code == 204
    assert next_box(client)["id"] != id
    assert rows(folder) == []


def test_agreement_is_told(client: TestClient, judge: Callable[..., int]) -> None:
    judge("ann", MASS, "accept")
    judge("ben", MASS, "reject")
    [pair] = client.get("/agreement").json()["pairs"]
    assert (pair["reviewers"], pair["boxes"], pair["agreement"]) == (["ann", "ben"], 1, 0)


@pytest.mark.parametrize("path", ["/boxes/99/picture", "/nothing"])
def test_what_is_not_there_is_a_404(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example:8100"},
        {"Host": "127.0.0.1.rebound.example"},
        {"Host": ""},
        {"Host": "[broken"},
    ],
)
def test_a_name_that_was_bound_to_this_address_is_not_answered(
    client: TestClient, headers: dict[str, str]
) -> None:
    for path in ("/", "/boxes?reviewer=ann"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 403
        assert "Effusion" not in answer.text


@pytest.mark.parametrize("host", ["localhost:8100", "127.0.0.1:9", "[::1]:8100", "10.0.0.7"])
def test_addresses_and_localhost_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/about", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1:9999", "http://localhost:8100", "null"]
)
def test_other_sites_cannot_decide(client: TestClient, folder: Path, origin: str) -> None:
    for path, body in (
        ("/boxes/1/decisions", {"reviewer": "ann", "action": "reject"}),
        ("/boxes/1/skip", {"reviewer": "ann"}),
        ("/undo", {"reviewer": "ann"}),
    ):
        answer = client.post(path, json=body, headers={"Origin": origin})
        assert answer.status_code == 403
    assert rows(folder) == []


def test_the_page_itself_can(client: TestClient) -> None:
    answer = client.post("/undo", json={"reviewer": "ann"}, headers={"Origin": BASE})
    assert answer.status_code == 200


def test_a_form_cannot_decide(client: TestClient, folder: Path) -> None:
    text = '{"reviewer": "ann", "action": "reject"}'
    answer = client.post("/boxes/1/decisions", content=text, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422
    assert rows(folder) == []


@pytest.mark.parametrize("path", ["/", *(f"/review/{p.name}" for p in PAGE.iterdir())])
def test_each_file_of_the_page_has_its_policy(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_the_page_shares_the_services_files(client: TestClient) -> None:
    assert "class View" in client.get("/page/view.js").text
    assert client.get("/").headers["x-frame-options"] == "DENY"


def test_an_unexpected_error_tells_its_place_and_not_what_it_read(
    dataset: Dataset, log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(path: str) -> bytes:
        raise RuntimeError("PATIENT^NAME in a.png")

    app = create_app(Desk(dataset, log, Queue(log), fail), host="127.0.0.1")
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        answer = client.get("/boxes/1/picture")
    assert answer.status_code == 500
    written = capsys.readouterr()
    assert "RuntimeError" in written.err
    assert "desk.py" in written.err
    assert "PATIENT" not in answer.text + written.err + written.out
