"""Prometheus' configuration, rules and alerts, by Prometheus' own tool."""

import re

import pytest
import yaml
from deploy_helpers import ROOT
from monitoring_helpers import PROMETHEUS, RULES, TESTS, promtool, rules

ALERTS = {rule["alert"]: rule for rule in rules("alert")}


def test_promtool_accepts_configuration_and_rules() -> None:
    done = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    for file in RULES:
        assert f"Checking {file}\n  SUCCESS" in done.stdout


def test_rules_and_alerts_pass_their_unit_tests() -> None:
    done = promtool("test", "rules", *TESTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == len(TESTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_fired_by_one_unit_test_and_not_by_another(alert: str) -> None:
    asked = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    fired = {
        bool(each["exp_samples"])
        for file in TESTS
        for case in yaml.safe_load(file.read_text())["tests"]
        for each in case["promql_expr_test"]
        if each["expr"] == asked
    }
    assert fired == {True, False}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_how_grave_it_is_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert {"summary", "description", "runbook"} == set(rule["annotations"])
    document, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^### (\w+)$", (ROOT / document).read_text(), re.MULTILINE)
    assert anchor in [heading.lower() for heading in headings]
    assert anchor == alert.lower()


def test_alerts_ask_for_the_job_that_is_scraped_here_and_in_kubernetes() -> None:
    asked = set(re.findall(r'job="([^"]+)"', " ".join(rule["expr"] for rule in ALERTS.values())))
    (scraped,) = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    # The Prometheus operator calls a job as the Service is called.
    service = yaml.safe_load((ROOT / "deploy/kubernetes/base/service.yaml").read_text())
    assert asked == {scraped["job_name"]} == {service["metadata"]["name"]}
