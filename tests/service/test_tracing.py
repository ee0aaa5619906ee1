"""What a collector of OpenTelemetry is told, and what it costs where there is none."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from pydantic import ValidationError
from service_helpers import GatedLocalizer, encode_dicom, wait_until
from structlog.testing import capture_logs

from service import tracing
from service.app import create_app
from service.processes import ProcessEngine
from service.settings import Settings
from service.threads import ThreadEngine

STAGES = ["queue", "decode", "inference", "boxes", "encode"]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Takes traces as OTLP over HTTP, and keeps them."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.paths: set[str] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.paths.add(self.path)
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing on the test's output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def spans(self) -> list[Span]:
        """In the order of their beginnings."""
        spans = [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return sorted(spans, key=lambda span: span.start_time_unix_nano)

    @property
    def root(self) -> Span:
        """The one span of a request."""
        (root,) = [span for span in self.spans if span.kind == Span.SPAN_KIND_SERVER]
        return root

    @property
    def stages(self) -> list[Span]:
        return [span for span in self.spans if span.kind != Span.SPAN_KIND_SERVER]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, args=(0.01,))
    thread.start()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()
    thread.join()


@contextmanager
def serving(localizer: GatedLocalizer, url: str, **more: Any) -> Iterator[TestClient]:
    """A client of an app that sends traces; when it ends, all of them have been sent."""
    settings = Settings(traces=url, **{"workers": 1, "max_waiting": 0, **more})
    with TestClient(create_app(settings, engine=ThreadEngine(localizer, settings))) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


def attributes(span: Span) -> dict[str, str | int]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


def milliseconds(span: Span) -> float:
    return (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6


def assert_within(root: Span, stages: list[Span]) -> None:
    """The stages are the root's children, one after the other, and none goes beyond it."""
    edges = [root.start_time_unix_nano]
    for stage in stages:
        assert (stage.trace_id, stage.parent_span_id) == (root.trace_id, root.span_id)
        edges += [stage.start_time_unix_nano, stage.end_time_unix_nano]
    assert [*edges, root.end_time_unix_nano] == sorted([*edges, root.end_time_unix_nano])


def test_a_request_is_a_span_with_one_for_each_stage_as_the_log_has_them(
    localizer: GatedLocalizer, collector: Collector, png: bytes
) -> None:
    before = time.time_ns()
    with serving(localizer, collector.url) as client, capture_logs() as lines:
        client.post("/localize", content=png)
    root, stages = collector.root, collector.stages
    assert collector.paths == {"/v1/traces"}
    assert root.name == "POST /localize"
    assert [stage.name for stage in stages] == STAGES
    assert_within(root, stages)
    assert before < root.start_time_unix_nano < root.end_time_unix_nano < time.time_ns()

    line = next(line for line in lines if line.get("path") == "/localize")
    assert line["trace_id"] == root.trace_id.hex()
    for stage in stages:
        assert milliseconds(stage) == pytest.approx(line[f"{stage.name}_ms"], abs=0.002)
    assert attributes(root) == {
        "http.request.method": "POST",
        "http.route": "/localize",
        "http.response.status_code": 200,
        "cxr.outcome": "answered",
        "cxr.bytes": len(png),
        "cxr.format": "PNG",
        "cxr.width": 96,
        "cxr.height": 64,
        "cxr.model_version": "1",
    }
    assert root.status.code == Status.STATUS_CODE_UNSET


def test_the_stages_of_a_worker_process_lie_where_they_were(
    tiny_bundle: Path, collector: Collector, png: bytes
) -> None:
    settings = Settings(
        model=tiny_bundle, traces=collector.url, provider="cpu", workers=1, threads=1
    )
    with TestClient(create_app(settings, engine=ProcessEngine(settings))) as client:
        client.post("/localize", content=png)
    assert [stage.name for stage in collector.stages] == STAGES
    assert_within(collector.root, collector.stages)


def test_a_slow_stage_is_seen_to_be_the_slow_one(
    localizer: GatedLocalizer, collector: Collector, png: bytes
) -> None:
    with serving(localizer, collector.url) as client:
        localizer.close()
        threading.Timer(0.3, localizer.gate.set).start()
        client.post("/localize", content=png)
    took = {stage.name: milliseconds(stage) for stage in collector.stages}
    assert took["inference"] > 200
    assert max(took[name] for name in STAGES if name != "inference") < took["inference"]


def test_the_callers_trace_goes_on(
    localizer: GatedLocalizer, collector: Collector, png: bytes
) -> None:
    with serving(localizer, collector.url) as client, capture_logs() as lines:
        for flags in ("01", "00"):  # The second caller keeps no trace, so none is sent.
            traceparent = {"traceparent": f"00-{TRACE}-{PARENT}-{flags}"}
            client.post("/localize", content=png, headers=traceparent)
    assert collector.root.trace_id.hex() == TRACE
    assert collector.root.parent_span_id.hex() == PARENT
    assert [line["trace_id"] for line in lines if line.get("path") == "/localize"] == [TRACE] * 2


def test_of_a_refused_radiograph_the_decoding_is_told_and_the_server_is_not_blamed(
    localizer: GatedLocalizer, collector: Collector
) -> None:
    with serving(localizer, collector.url) as client:
        client.post("/localize", content=encode_dicom(ct=True))
    told = attributes(collector.root)
    assert (told["http.response.status_code"], told["cxr.problem"]) == (422, "modality")
    assert told["cxr.outcome"] == "refused"
    assert collector.root.status.code == Status.STATUS_CODE_UNSET
    assert [stage.name for stage in collector.stages] == ["queue", "decode"]
    assert_within(collector.root, collector.stages)


def test_a_full_queue_and_a_deadline_that_passed_are_errors(
    localizer: GatedLocalizer, collector: Collector, png: bytes
) -> None:
    with (
        serving(localizer, collector.url, deadline_seconds=0.5) as client,
        ThreadPoolExecutor(1) as callers,
    ):
        localizer.close()
        late = callers.submit(client.post, "/localize", content=png)
        assert localizer.entered.acquire(timeout=20)
        assert client.post("/localize", content=png).status_code == 503
        assert late.result(20).status_code == 504
        localizer.gate.set()
    roots = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
    told = {attributes(root)["http.response.status_code"]: root for root in roots}
    assert {root.status.code for root in roots} == {Status.STATUS_CODE_ERROR}
    assert attributes(told[503])["error.type"] == "queue-full"
    assert attributes(told[503])["cxr.outcome"] == "turned_away"
    assert attributes(told[504])["error.type"] == "too-late"
    # What it was at when the deadline passed, it was at until then.
    assert [stage.name for stage in collector.stages] == ["queue", "decode", "inference"]
    assert milliseconds(collector.stages[-1]) > 300
    assert_within(told[504], collector.stages)


def test_an_unexpected_error_has_its_trace_in_the_log_and_its_message_nowhere(
    localizer: GatedLocalizer, collector: Collector, png: bytes
) -> None:
    def fail(inputs: object, *, alone: bool) -> None:
        raise RuntimeError("Mustermann^Erika")

    with serving(localizer, collector.url) as client, capture_logs() as lines:
        localizer.infer = fail  # type: ignore[method-assign]
        client.post("/localize", content=png)
    (error,) = [line for line in lines if line["event"] == "unexpected error"]
    assert error["trace_id"] == collector.root.trace_id.hex()
    assert attributes(collector.root)["error.type"] == "internal-error"


def test_no_span_holds_what_the_client_wrote(
    localizer: GatedLocalizer, collector: Collector
) -> None:
    with serving(localizer, collector.url) as client:
        for data in (encode_dicom(), encode_dicom(ct=True), encode_dicom()[:-2000], b"Erika"):
            client.post(
                "/localize?patient=Erika",
                files={"file": ("Erika.dcm", data)},
                headers={"User-Agent": "Erika", "baggage": "patient=Erika"},
            )
            client.post("/localize", files={"file": ("Erika.dcm", data)})
        client.get("/Erika")
    assert len([span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]) == 8
    assert "Erika" not in str(collector.requests)
    assert "4711-0815" not in str(collector.requests)


def test_probes_and_pages_are_not_traced(localizer: GatedLocalizer, collector: Collector) -> None:
    with serving(localizer, collector.url) as client:
        for path in ("/healthz", "/metrics", "/docs", "/localize"):
            client.get(path)
    assert collector.spans == []


def test_a_share_of_the_traces_can_be_asked_for(
    localizer: GatedLocalizer, collector: Collector, png: bytes
) -> None:
    with serving(localizer, collector.url, traces_ratio=0.0) as client:
        assert client.post("/localize", content=png).status_code == 200
    assert collector.spans == []


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "cxr-localizer"),
        ({"OTEL_SERVICE_NAME": "ward 3"}, "ward 3"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=icu,deployment.environment=test"}, "icu"),
    ],
)
def test_the_service_has_the_name_that_its_deployment_gives_it(
    localizer: GatedLocalizer,
    collector: Collector,
    png: bytes,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    name: str,
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    with serving(localizer, collector.url) as client:
        client.post("/localize", content=png)
    (resource,) = [each.resource for each in collector.requests[0].resource_spans]
    said = {pair.key: pair.value.string_value for pair in resource.attributes}
    assert said["service.name"] == name
    assert said.get("deployment.environment") == ("test" if name == "icu" else None)


def test_a_collector_that_is_not_there_costs_no_request_its_answer_and_no_stop_its_end(
    localizer: GatedLocalizer, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.2)
    with serving(localizer, "http://127.0.0.1:9") as client:
        assert client.post("/localize", content=png).status_code == 200
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 5


@pytest.mark.parametrize("url", ["collector:4318", "grpc://collector:4317", "http://"])
def test_what_is_no_url_of_a_collector_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="http://collector:4318"):
        Settings(traces=url)


def test_a_collectors_own_path_is_kept() -> None:
    assert Settings(traces="https://x/otlp/v1/traces").traces == "https://x/otlp/v1/traces"
    assert Settings(traces="https://x/").traces == "https://x/v1/traces"


def test_without_the_extra_the_service_refuses_to_start_and_names_it(
    collector: Collector,
) -> None:
    """In a process of its own, which cannot import the SDK."""
    without = "import sys; sys.modules['opentelemetry.sdk'] = None; "
    run = "from commands.main import app; app(['serve'])"
    result = subprocess.run(
        [sys.executable, "-c", without + run],
        env={"CXR_TRACES": collector.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 2
    assert "CXR_TRACES" in result.stderr
    assert "pip install 'cxr-localizer[tracing]', or for an image" in result.stderr
    assert "Traceback" not in result.stderr


def test_where_no_collector_is_named_nothing_of_the_sdk_is_imported() -> None:
    script = (
        "import sys; from service.app import create_app; create_app(); "
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', "
        "'opentelemetry.exporter', 'opentelemetry.proto', 'service.tracing'))])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_the_frameworks_own_telemetry_stays_off(
    localizer: GatedLocalizer, collector: Collector, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its spans would hold the query, its logs the messages of errors."""
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    with serving(localizer, "") as client:
        client.post("/localize?patient=Erika", content=png)
    assert collector.requests == []
