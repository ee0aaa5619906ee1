"""What a reviewer is told to open, and what the server says to whoever opened something else."""

import re
import socket
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from harvesting.dataset import Dataset
from reviewing.addresses import to_open
from reviewing.app import create_app
from reviewing.desk import Desk
from reviewing.log import Log


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8100"),
        ("localhost", "http://localhost:8100"),
        ("192.0.2.7", "http://192.0.2.7:8100"),
        ("::1", "http://[::1]:8100"),
    ],
)
def test_a_place_of_its_own_is_what_is_opened(host: str, address: str) -> None:
    assert to_open(host, 8100) == address


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_every_address_is_no_place_so_the_machine_is_named(host: str) -> None:
    said = to_open(host, 8100)
    assert said.startswith(f"http://{socket.gethostname()}:8100")
    assert not re.search(r"//(0\.0\.0\.0|\[::\]|):", said)


def test_an_address_that_has_a_way_out_is_told_beside_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reviewing.addresses._outward", lambda host: ["192.0.2.7"])
    assert to_open("0.0.0.0", 80).endswith(" or http://192.0.2.7:80")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_refused_name_is_told_which_ones_are_not(
    host: str, dataset: Dataset, log: Log, folder: Path
) -> None:
    app = create_app(Desk.open(dataset, log, lambda path: b""), host=host)
    with TestClient(app, base_url="http://elsewhere.example:8100") as client:
        refused = client.get("/about")
    assert refused.status_code == 403
    said = refused.json()["detail"]
    assert "IP address" in said
    assert host not in said
    named = said.partition(", or as ")[2].removesuffix(".").split(" or ")
    assert "localhost" in named
    assert (socket.gethostname().lower() in named) == (host == "0.0.0.0")
    for name in named:
        with TestClient(app, base_url=f"http://{name}:8100") as client:
            assert client.get("/about").status_code == 200
