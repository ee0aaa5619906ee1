"""What deploy/ asks of Prometheus, and a Prometheus that scrapes a service every second."""

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import yaml
from deploy_helpers import ROOT

PROMETHEUS = ROOT / "deploy/prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/cxr-localizer.json").read_text())

WINDOW = "[15s]"
"""In place of every window of rules and dashboard, so that a test sees it filled."""

Rule = dict[str, Any]


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`."""
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(
            f"The tests of monitoring need {name}: install Debian's package prometheus "
            "(sudo apt-get install prometheus), or put Prometheus' programs into PATH."
        )
    return path


def promtool(*arguments: str | Path) -> str:
    """What promtool writes; it fails where promtool does."""
    command = [program("promtool"), *arguments]
    done = subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def groups(text: str | None = None) -> list[dict[str, Any]]:
    """The groups of all rule files, or of a file's text."""
    texts = [file.read_text() for file in RULES] if text is None else [text]
    return [group for each in texts for group in yaml.safe_load(each)["groups"]]


def rules(kind: str) -> dict[str, Rule]:
    """The rules of a kind, `alert` or `record`, by their names."""
    return {rule[kind]: rule for group in groups() for rule in group["rules"] if kind in rule}


def panels() -> list[dict[str, Any]]:
    """Of the dashboard, without its rows."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def dashboard_expressions() -> list[str]:
    """What the dashboard asks, with its variables as Grafana fills them in for all instances."""
    variables = {
        "$instance": ".*",
        "$disease": "Mass",
        "$__rate_interval": "1m",
        "$__range": "6h",
    }
    expressions = [target["expr"] for panel in panels() for target in panel["targets"]]
    for name, value in variables.items():
        expressions = [each.replace(name, value) for each in expressions]
    assert not [each for each in expressions if "$" in each]
    return expressions


def watched(alert: str) -> str:
    """What an alert compares with its limits: it has data also where nothing is wrong."""
    without_limits = re.sub(r"(==|>=?)\s*[\d.]+", "", alert)
    return without_limits.replace("absent(", "(").replace("unless", "and")


def shorten(text: str) -> str:
    """Every window as `WINDOW`, so that rates are of the last seconds."""
    return re.sub(r"\[\d+[smhd]\]", WINDOW, text)


def write_config(folder: Path, target: str) -> Path:
    """The shipped configuration, but of one known target, every second, with short windows."""
    (folder / "rules").mkdir()
    for file in RULES:
        text = re.sub(r"interval: \d+m", "interval: 1s", shorten(file.read_text()))
        (folder / "rules" / file.name).write_text(text)
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (scraped,) = config["scrape_configs"]
    del scraped["dns_sd_configs"]
    scraped["static_configs"] = [{"targets": [target]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


class Prometheus:
    """One that runs."""

    def __init__(self, port: int) -> None:
        self._client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20)

    def is_ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx2.TransportError:
            return False

    def ask(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of an expression's instant vector; NaN is no value."""
        found = self._get("query", query=expression)["result"]
        samples = [(each["metric"], float(each["value"][1])) for each in found]
        return [sample for sample in samples if sample[1] == sample[1]]

    def rules(self) -> list[Rule]:
        """Every rule with its `health` and what it last failed of."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        answer = self._client.get(f"/api/v1/{path}", params=query).json()
        assert answer["status"] == "success", answer
        data: dict[str, Any] = answer["data"]
        return data

    def close(self) -> None:
        self._client.close()


@contextmanager
def scraping(target: str, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a target, `host:port`, and keeps what it knows in a folder."""
    config = write_config(folder, target)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [program("prometheus"), f"--config.file={config}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    log = folder / "log"
    with log.open("w") as writing:
        process = subprocess.Popen(command, stdout=writing, stderr=writing)
    prometheus = Prometheus(port)
    try:
        deadline = time.monotonic() + 60
        while not prometheus.is_ready():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield prometheus
    finally:
        prometheus.close()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
