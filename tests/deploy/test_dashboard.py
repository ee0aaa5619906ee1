"""The dashboard and the rules, asked of a real Prometheus that scrapes the real service.

Grafana itself is not run: the dashboard's structure is looked at, its looks are not.
"""

import io
import itertools
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx2
import numpy as np
import pydicom
import pytest
import yaml
from deploy_helpers import ROOT
from monitoring_helpers import (
    DASHBOARD,
    ask,
    panels,
    prometheus,
    rules,
    serving,
    wait_until,
    watched,
    without_variables,
)
from pydicom.data import get_testdata_file

from localization import DISEASES

SHOWN = [
    pytest.param(without_variables(target["expr"]), id=f"{panel['title']} {target['refId']}")
    for panel in panels()
    for target in panel["targets"]
]
RECORDED = [rule["record"] for rule in rules("record")]
WATCHED = [pytest.param(watched(rule["expr"]), id=rule["alert"]) for rule in rules("alert")]

GRAFANA = ROOT / "deploy/grafana"


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with a reference: half of the probabilities up to 0.1, half above."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("watched") / "bundle"))
    manifest = json.loads((folder / "manifest.json").read_text())
    bins = {"bounds": [0.1, 1.0], "shares": [0.5, 0.5]}
    diseases = dict.fromkeys(DISEASES, bins)
    manifest["reference"] = {"data": "none", "radiographs": 1, "rule": "none", "diseases": diseases}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def asked(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prometheus that has seen the service answer, warn and refuse."""
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        serving(bundle) as service,
        prometheus(folder, service) as url,
    ):
        # Once scraped with every series, so that what follows is an increase.
        send(service)
        wait_until(lambda: ask(url, "cxr_requests_total > 0") != [])
        for _ in range(5):
            send(service)
        wait_until(lambda: sum(ask(url, "cxr_requests_total")) == 6 * len(FILES))
        yield url


def picture() -> bytes:
    pixels = np.random.default_rng(0).integers(40, 200, (256, 256), np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


def mirrored() -> bytes:
    """A radiograph that is answered with a warning."""
    dataset = pydicom.dcmread(str(get_testdata_file("RG1_UNCR.dcm", download=False)))
    dataset.PatientOrientation = ["R", "F"]
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


FILES = {"answered": picture(), "warned": mirrored(), "refused": b"none", "empty": b""}


def send(service: str) -> None:
    for name, content in FILES.items():
        answer = httpx2.post(f"{service}/localize", content=content, timeout=20)
        assert (answer.status_code == 200) == (name in ("answered", "warned")), answer.text
        if name == "warned":
            assert answer.json()["radiograph"]["warnings"]


def has_a_value(url: str, expression: str) -> bool:
    """Whether some series has a number; of a stage that no one timed, a percentile has none."""
    return any(map(math.isfinite, ask(url, expression)))


@pytest.mark.parametrize("expression", SHOWN)
def test_every_expression_of_the_dashboard_returns_data(asked: str, expression: str) -> None:
    wait_until(lambda: has_a_value(asked, expression))


@pytest.mark.parametrize("record", RECORDED)
def test_every_recording_rule_records(asked: str, record: str) -> None:
    wait_until(lambda: has_a_value(asked, record))


@pytest.mark.parametrize("expression", WATCHED)
def test_what_every_alert_watches_is_there(asked: str, expression: str) -> None:
    wait_until(lambda: has_a_value(asked, expression))


def test_no_rule_fails_and_no_alert_fires_for_want_of_traffic(asked: str) -> None:
    answer = httpx2.get(f"{asked}/api/v1/rules", timeout=10).json()
    evaluated = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
    assert len(evaluated) == len(rules("record")) + len(rules("alert"))
    assert [rule["lastError"] for rule in evaluated if rule.get("lastError")] == []
    assert ask(asked, 'ALERTS{alertstate="firing"}') == []


def test_the_index_is_that_of_what_was_sent(asked: str) -> None:
    """Hernia's probability is a fourteenth of the brightness: all of them are below 0.1."""
    psi = 'job_version_disease:cxr_probability:psi1h{disease="Hernia"}'
    wait_until(lambda: ask(asked, psi) != [])
    (value,) = ask(asked, psi)
    floor = 0.0001
    expected = 0.5 * math.log(2) + (floor - 0.5) * math.log(floor / 0.5)
    assert value == pytest.approx(expected, rel=1e-6)


def test_warnings_and_refusals_are_told_apart(asked: str) -> None:
    assert ask(asked, 'cxr_warnings_total{code="mirrored"}') == [6]
    assert ask(asked, 'cxr_refusals_total{reason="empty"}') == [6]
    assert ask(asked, 'cxr_refusals_total{reason="unsupported-format"}') == [6]


@pytest.mark.parametrize("variable", DASHBOARD["templating"]["list"], ids=lambda v: v["name"])
def test_variables_have_values(asked: str, variable: dict[str, Any]) -> None:
    if variable["type"] == "datasource":
        return
    query = variable["query"]["query"].removeprefix("label_values(").removesuffix(")")
    series, _, label = without_variables(query).rpartition(", ")
    match = {"match[]": series}
    answer = httpx2.get(f"{asked}/api/v1/label/{label}/values", params=match, timeout=10).json()
    assert answer["data"]


def test_annotations_are_understood(asked: str) -> None:
    for annotation in DASHBOARD["annotations"]["list"]:
        ask(asked, annotation["expr"])


def test_panels_have_ids_titles_units_and_places_of_their_own() -> None:
    every = DASHBOARD["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    assert len({panel["title"] for panel in every}) == len(every)
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    places = [panel["gridPos"] for panel in every]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above


def test_every_panel_takes_the_chosen_source_and_the_chosen_services() -> None:
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all("$job" in target["expr"] for target in panel["targets"])


def test_grafana_is_given_the_source_and_the_folder_that_compose_mounts() -> None:
    (file,) = (GRAFANA / "provisioning/datasources").iterdir()
    (source,) = yaml.safe_load(file.read_text())["datasources"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    host = source["url"].removeprefix("http://").partition(":")[0]
    assert host in compose
    (file,) = (GRAFANA / "provisioning/dashboards").iterdir()
    (provider,) = yaml.safe_load(file.read_text())["providers"]
    mounts = [mount.split(":")[:2] for mount in compose["grafana"]["volumes"]]
    assert ["./deploy/grafana/dashboards", provider["options"]["path"]] in mounts
    assert ["./deploy/grafana/provisioning", "/etc/grafana/provisioning"] in mounts
