"""One line per request, and nothing of the patient."""

import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from fastapi.testclient import TestClient
from service_helpers import GatedLocalizer, encode_dicom
from structlog.testing import capture_logs

from service.logs import configure_logs
from service.metrics import OUTCOMES
from service.observation import _outcome
from service.settings import Settings

MONITORING = Path(__file__).parents[2] / "docs/monitoring.md"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_request_is_one_line_that_says_what_became_of_it(client: TestClient, png: bytes) -> None:
    with capture_logs() as lines:
        response = client.post("/localize", content=png)
    (line,) = lines
    stages = ["queue_ms", "decode_ms", "inference_ms", "boxes_ms", "encode_ms"]
    took = [line.pop(name) for name in stages]
    assert all(milliseconds > 0 for milliseconds in took)
    assert sum(took) <= line.pop("request_ms")
    assert line == {
        "event": "request",
        "log_level": "info",
        "request_id": response.headers["X-Request-ID"],
        "method": "POST",
        "path": "/localize",
        "status": 200,
        "outcome": "answered",
        "format": "PNG",
        "width": 96,
        "height": 64,
        "bytes": len(png),
        "model_version": "1",
    }


def test_a_refusal_is_logged_with_its_reason(client: TestClient) -> None:
    with capture_logs() as lines:
        client.post("/localize", content=b"")
    assert [(line["outcome"], line["problem"]) for line in lines] == [("refused", "empty")]


def test_a_radiograph_that_is_refused_tells_its_size_and_how_long_its_decoding_took(
    client: TestClient,
) -> None:
    with capture_logs() as lines:
        client.post("/localize", content=encode_dicom(ct=True))
    (line,) = lines
    assert (line["status"], line["problem"]) == (422, "modality")
    assert (line["bytes"], line["model_version"]) == (len(encode_dicom(ct=True)), "1")
    assert line["decode_ms"] > 0
    assert "inference_ms" not in line


def test_the_callers_trace_is_named_whatever_the_service_does_itself(client: TestClient) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent = [
        f"00-{trace}-00f067aa0ba902b7-01",
        f"cc-{trace}-00f067aa0ba902b7-01-what-later-versions-add",
        f"ff-{trace}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{trace}-00f067aa0ba902b7",
        "Erika",
    ]
    with capture_logs() as lines:
        for traceparent in sent:
            client.post("/localize", content=b"", headers={"traceparent": traceparent})
    assert [line.get("trace_id") for line in lines] == [trace, trace, None, None, None, None]


def test_neither_patient_nor_file_name_nor_query_is_logged(
    client: TestClient, localizer: GatedLocalizer
) -> None:
    def fail(inputs: object, *, alone: bool) -> None:
        raise RuntimeError("Mustermann^Erika")

    with capture_logs() as lines:
        for data in (encode_dicom(), encode_dicom(ct=True), encode_dicom()[:-2000]):
            client.post("/localize?patient=Erika", files={"file": ("Erika.dcm", data)})
            client.post("/localize", files={"file": ("Erika.dcm", data)})
        client.get("/Erika")
        client.get("/v2/models/Erika")
        localizer.infer = fail  # type: ignore[method-assign]
        client.post("/localize", files={"file": ("Erika.dcm", encode_dicom())})
    assert len(lines) == 10
    assert "Erika" not in str(lines)
    assert "4711-0815" not in str(lines)


def test_an_unexpected_error_is_logged_with_the_place_and_the_requests_id(
    client: TestClient, localizer: GatedLocalizer, png: bytes
) -> None:
    def fail(inputs: object, *, alone: bool) -> None:
        raise KeyError("x")

    localizer.infer = fail  # type: ignore[method-assign]
    with capture_logs() as lines:
        response = client.post("/localize", content=png)
    error, request = lines
    assert error["log_level"] == "error"
    assert error["error"] == "KeyError"
    assert error["where"][-1].endswith(" fail")
    assert error["request_id"] == request["request_id"] == response.headers["X-Request-ID"]


def test_every_field_of_the_line_is_documented(
    client: TestClient, localizer: GatedLocalizer, png: bytes
) -> None:
    (described,) = re.findall(
        r"^## Logs$(.*?)^## ", MONITORING.read_text(), re.MULTILINE | re.DOTALL
    )
    names = set(re.findall(r"`(\w+)`", described)) | {"event", "log_level"}
    with capture_logs() as lines:
        client.post("/localize", content=png, headers={"traceparent": TRACEPARENT})
        client.post("/localize", content=encode_dicom(ct=True))
        client.get("/model")
    assert {name for line in lines for name in line} <= names
    statuses = (200, 422, 401, 429, 503, 504, 500, None)
    assert set(OUTCOMES) == {_outcome(status) for status in statuses} <= names


def test_probes_are_logged_at_debug(client: TestClient) -> None:
    with capture_logs() as lines:
        client.get("/healthz")
    assert [line["log_level"] for line in lines] == ["debug"]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What goes to the logs as a service has them; afterwards they are as they were."""
    for name in (None, "service", "uvicorn", "pydicom", "PIL"):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", list(logger.handlers))
        monkeypatch.setattr(logger, "level", logger.level)
        monkeypatch.setattr(logger, "propagate", logger.propagate)
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    with warnings.catch_warnings():
        configure_logs(Settings())
        yield written
    structlog.reset_defaults()


def test_a_line_holds_whatever_a_path_does(logged: io.StringIO) -> None:
    reasons = ["/mod\u00e8le", "/half a character: \udcff"]
    for reason in reasons:
        structlog.get_logger("service").error("reload refused", reason=reason, path=Path("/"))
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert [line["reason"] for line in lines] == reasons


def test_what_libraries_say_of_a_file_reaches_no_log(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = ("pydicom", "PIL")
    for name in (None, "service", "uvicorn", *libraries):  # To be as they were, afterwards.
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", list(logger.handlers))
        monkeypatch.setattr(logger, "level", logger.level)
        monkeypatch.setattr(logger, "propagate", logger.propagate)
    with warnings.catch_warnings():
        configure_logs(Settings())
        for name in ("pydicom", "PIL", "PIL.TiffImagePlugin"):
            logging.getLogger(name).error("of %s", "Erika")
    structlog.reset_defaults()
    assert "Erika" not in "".join(capfd.readouterr())
