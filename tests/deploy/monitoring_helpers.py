"""Prometheus and the service, each as a process, and what a dashboard or a rule asks."""

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from deploy_helpers import ROOT
from serving import Running, start

PROMETHEUS = ROOT / "deploy/prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/cxr-localizer.json").read_text())

VARIABLES = {"$job": ".*", "$instance": ".*", "$__rate_interval": "1m"}
"""What Grafana would put into an expression, where everything is chosen."""


def program(name: str) -> str:
    """The path of a program of Prometheus'; the test fails where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(
            f"{name} is not here; install Prometheus (Debian: sudo apt-get install prometheus), "
            "which brings it."
        )
    return found


def promtool(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run promtool in the repository's root."""
    command = [program("promtool"), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)


def rules(kind: str) -> list[dict[str, Any]]:
    """All rules of a kind, `record` or `alert`."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels that show something."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def without_variables(expression: str) -> str:
    """An expression of the dashboard as Grafana would send it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def watched(alert: str) -> str:
    """What an alert's expression compares with its limits: there also where nothing is wrong."""
    unlimited = re.sub(r"(==|>=?) *[0-9.]+", "", alert)
    return unlimited.replace("absent(", "(").replace("unless", "and")


def free_port() -> int:
    """A port that no one listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float = 40) -> None:
    """Wait for something to come about, for so long at most."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.2)


def answers(url: str) -> bool:
    """Whether something says 200 there."""
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


@contextmanager
def serving(bundle: Path) -> Iterator[str]:
    """The service as a process; its URL."""
    settings = {"CXR_PORT": "0", "CXR_PROVIDER": "cpu", "CXR_WORKERS": "2"}
    service = Running(start(CXR_MODEL=str(bundle), **settings))
    try:
        url = f"http://127.0.0.1:{service.port}"
        wait_until(lambda: answers(f"{url}/readyz"))
        yield url
    finally:
        service.stop()


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """Prometheus with the shipped configuration and rules, but one target and no patience; its URL.

    It scrapes and evaluates every second; windows and expressions stay as they are.
    """
    shutil.copytree(PROMETHEUS, folder / "prometheus")
    config = folder / "prometheus/prometheus.yml"
    shipped = yaml.safe_load(config.read_text())
    shipped["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (job,) = shipped["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [target.removeprefix("http://")]}]
    config.write_text(yaml.safe_dump(shipped))
    for file in (folder / "prometheus/rules").glob("*.yml"):
        file.write_text(re.sub(r"^    interval: .*\n", "", file.read_text(), flags=re.MULTILINE))
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, folder / "prometheus.log"):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{url}/-/ready"))
        yield url


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    """A process, ended at last; where it ended by itself, the test fails with its log."""
    with log.open("w") as written:
        process = subprocess.Popen(command, cwd=ROOT, stdout=written, stderr=subprocess.STDOUT)
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(30)


def ask(url: str, expression: str) -> list[float]:
    """The values of an expression, now."""
    answer = httpx2.get(f"{url}/api/v1/query", params={"query": expression}, timeout=10).json()
    assert answer["status"] == "success", answer
    return [float(sample["value"][1]) for sample in answer["data"]["result"]]
