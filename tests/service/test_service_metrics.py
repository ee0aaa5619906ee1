"""What Prometheus scrapes."""

import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from service_helpers import MAX_UPLOAD_BYTES, GatedLocalizer, wait_until

from localization import DISEASES, Doubt, Radiograph
from localization.reference import BOUNDS, Bins, Reference
from service.metrics import STAGES


def scrape(client: TestClient) -> dict[tuple[str, ...], float]:
    """Return each sample by its name and its labels' values."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_an_answer_is_counted_and_each_stage_is_timed(client: TestClient, png: bytes) -> None:
    client.post("/localize", content=png)
    samples = scrape(client)
    assert samples["cxr_requests_total", "answered"] == 1
    for stage in STAGES:
        assert samples["cxr_stage_seconds_count", stage] == 1
    parts = sum(samples["cxr_stage_seconds_sum", stage] for stage in STAGES if stage != "total")
    assert 0 < parts <= samples["cxr_stage_seconds_sum", "total"]


def test_refusals_are_counted_by_reason(client: TestClient) -> None:
    client.post("/localize", content=b"")
    client.post("/localize", content=bytes(MAX_UPLOAD_BYTES + 1))
    client.post("/localize?boxes=some", content=b"x")
    samples = scrape(client)
    assert samples["cxr_requests_total", "refused"] == 3
    for reason in ("empty", "upload-too-large", "invalid-parameters"):
        assert samples["cxr_refusals_total", reason] == 1


def test_each_disease_has_a_histogram_of_its_probabilities(client: TestClient, png: bytes) -> None:
    for _ in range(2):
        client.post("/localize?diseases=Mass", content=png)
    samples = scrape(client)
    assert samples["cxr_probability_count", "Hernia", "1"] == 2
    assert samples["cxr_probability_bucket", "Hernia", "1.0", "1"] == 2
    (finding,) = client.post("/localize?diseases=Mass", content=png).json()["findings"]
    probability = finding["probability"]
    above = min(bound for bound in BOUNDS if bound >= probability)
    below = max(bound for bound in BOUNDS if bound < probability)
    samples = scrape(client)
    assert samples["cxr_probability_bucket", "Mass", str(above), "1"] == 3
    assert samples["cxr_probability_bucket", "Mass", str(below), "1"] == 0


def test_the_model_is_named_with_its_version_and_provider(client: TestClient) -> None:
    (labels,) = (key for key in scrape(client) if key[0] == "cxr_model_info")
    assert set(labels[1:]) == {"tiny", "1", "cpu", "fp32"}


def test_the_reference_is_that_of_the_manifest_by_bounds_of_the_histogram(
    app: FastAPI, localizer: GatedLocalizer, client: TestClient
) -> None:
    assert not [key for key in scrape(client) if key[0] == "cxr_reference_probability_share"]
    bins = Bins(bounds=(0.0002, 0.0224, 1.0), shares=(0.25, 0.5, 0.25))
    reference = Reference(
        data="made up", radiographs=4, rule="none", diseases=dict.fromkeys(DISEASES, bins)
    )
    manifest = localizer.bundle.manifest.model_copy(update={"reference": reference, "version": "2"})
    metrics = app.state.lifecycle.metrics
    metrics.compare_with(manifest)
    samples = scrape(client)
    shares = {key[1:]: value for key, value in samples.items() if key[0].endswith("_share")}
    assert shares["0", "Hernia", "0.0002", "2"] == 0.25
    assert shares["0.0002", "Hernia", "0.0224", "2"] == 0.5
    assert shares["0.0224", "Hernia", "1.0", "2"] == 0.25
    assert len(shares) == 3 * len(DISEASES)
    for _, disease, up_to, version in shares:
        assert ("cxr_probability_bucket", disease, up_to, version) in samples
    metrics.compare_with(localizer.bundle.manifest)  # as a reload to a model without one
    assert not [key for key in scrape(client) if key[0] == "cxr_reference_probability_share"]


def test_a_warning_is_counted_by_its_code(
    client: TestClient, localizer: GatedLocalizer, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Radiograph.read

    def read_doubtfully(*arguments: Any, **options: Any) -> Radiograph:
        return replace(read(*arguments, **options), doubts=(Doubt("odd", "It is odd."),))

    client.post("/localize", content=png)
    monkeypatch.setattr(Radiograph, "read", read_doubtfully)
    for _ in range(2):
        assert client.post("/localize", content=png).json()["radiograph"]["warnings"]
    assert scrape(client)["cxr_warnings_total", "odd"] == 2


def test_it_is_ready_until_it_drains_and_tells_how_many_may_wait(
    app: FastAPI, client: TestClient
) -> None:
    samples = scrape(client)
    assert samples["cxr_ready",] == 1
    assert samples["cxr_queue_limit",] == app.state.lifecycle.settings.max_waiting
    app.state.lifecycle.begin_draining()
    assert scrape(client)["cxr_ready",] == 0


def test_memory_and_cpu_time_of_the_main_process_and_of_its_workers(client: TestClient) -> None:
    before = scrape(client)
    assert before["cxr_memory_bytes", "main"] > 1e7
    busy = "import time\nwhile time.process_time() < 0.2: pass\ntime.sleep(60)"
    worker = subprocess.Popen([sys.executable, "-c", busy])
    try:
        wait_until(lambda: used_by_workers(client) >= used_by_workers(before) + 0.1)
        held = "cxr_memory_bytes", "workers"
        assert scrape(client)[held] > before[held] + 1e6
    finally:
        worker.kill()
        worker.wait()
    used = used_by_workers(client)
    assert used >= used_by_workers(before) + 0.1  # by one that has ended
    spent = time.process_time()
    while time.process_time() < spent + 0.2:
        pass
    main = "cxr_cpu_seconds_total", "main"
    assert scrape(client)[main] >= before[main] + 0.1
    # Those of other tests may still be ending.
    assert used <= used_by_workers(client) < used + 0.1


def used_by_workers(source: TestClient | dict[tuple[str, ...], float]) -> float:
    samples = scrape(source) if isinstance(source, TestClient) else source
    return samples["cxr_cpu_seconds_total", "workers"]


def test_nothing_is_in_flight_when_nothing_is_sent_and_probes_do_not_count(
    client: TestClient,
) -> None:
    client.get("/healthz")
    samples = scrape(client)
    assert samples["cxr_requests_in_flight",] == samples["cxr_queue_depth",] == 0
    assert sum(value for key, value in samples.items() if key[0] == "cxr_requests_total") == 0
    assert samples["process_resident_memory_bytes",] > 0


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
def test_the_format_is_one_that_the_scraper_accepts(client: TestClient, accept: str) -> None:
    response = client.get("/metrics", headers={"Accept": accept})
    assert response.headers["content-type"].startswith(accept)
