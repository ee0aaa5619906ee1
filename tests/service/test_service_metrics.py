"""What Prometheus scrapes."""

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from service_helpers import MAX_UPLOAD_BYTES

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
    assert samples["cxr_probability_count", "Hernia"] == 2
    assert samples["cxr_probability_bucket", "Hernia", "1.0"] == 2


def test_the_model_is_named_with_its_version_and_provider(client: TestClient) -> None:
    (labels,) = (key for key in scrape(client) if key[0] == "cxr_model_info")
    assert set(labels[1:]) == {"tiny", "1", "cpu", "fp32"}


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
