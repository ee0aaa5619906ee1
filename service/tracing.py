"""Traces by OpenTelemetry: one span for a request, and one within it for each of its stages.

Needs the extra `tracing`; imported only where `CXR_TRACES` names a collector. The spans of the
stages are made when the request is over, from the times that were noted on its way: workers know
nothing of traces. No span holds anything that the client wrote: no header, no query, no file name.
"""

import threading
import time
from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace import Tracer as SpanSource
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import Scope

from service.timeline import Timeline
from service.version import installed_version

SERVICE = "cxr-localizer"
"""What the service calls itself, unless `OTEL_SERVICE_NAME` says otherwise."""

FLUSH_SECONDS = 5.0
"""How long the last spans may take to reach the collector before the service ends without them."""


class Tracer:
    """Sends the spans of requests to a collector, from a thread of its own.

    A collector that cannot be reached costs no request anything: spans wait in a bounded queue,
    and are dropped where it is full.

    Args:
        endpoint: URL that takes OTLP over HTTP.
        ratio: the share of traces that is sent, in [0, 1]; where the caller sends a `traceparent`,
            the caller has decided.
    """

    def __init__(self, endpoint: str, ratio: float) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=_resource(),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        self._spans = self._provider.get_tracer("service")

    def begin(self, scope: Scope) -> "RequestSpan":
        """Begin the span of a request: the caller's child, where its headers name a parent."""
        route = f"{scope['method']} {scope['path']}"
        span = self._spans.start_span(route, _parent(scope), SpanKind.SERVER)
        return RequestSpan(self._spans, span)

    def close(self) -> None:
        """Send what is left, for `FLUSH_SECONDS` at most."""
        # The SDK's own limit is half a minute, longer than a stopping service should take.
        flush = threading.Thread(target=self._provider.shutdown, daemon=True)
        flush.start()
        flush.join(FLUSH_SECONDS)


class RequestSpan:
    """The span of one request that is under way."""

    def __init__(self, spans: SpanSource, span: Span) -> None:
        self._spans = spans
        self._span = span
        # The epoch by the clock of timelines, so that stages lie where they belong within it.
        self._epoch = time.time_ns() - round(time.perf_counter() * 1e9)

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; the caller's, where there is one."""
        return format_trace_id(self._span.get_span_context().trace_id)

    def end(
        self,
        status: int | None,
        problem: str | None,
        attributes: Mapping[str, str | int],
        timeline: Timeline,
    ) -> None:
        """End it now, its stages within it.

        Args:
            status: of the answer; None where there was none.
            problem: its slug, where it was one.
            attributes: further ones.
            timeline: of its stages.
        """
        now = time.perf_counter()
        if self._span.is_recording():
            self._describe(status, problem, attributes)
            parent = set_span_in_context(self._span, Context())
            for stage, (began, ended) in timeline.until(now).items():
                child = self._spans.start_span(stage, parent, start_time=self._since_epoch(began))
                child.end(self._since_epoch(ended))
        self._span.end(self._since_epoch(now))

    def _describe(
        self, status: int | None, problem: str | None, attributes: Mapping[str, str | int]
    ) -> None:
        """The names are those of OpenTelemetry's conventions for HTTP, where they have one."""
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        if problem is not None:
            self._span.set_attribute("cxr.problem", problem)
        # By the same conventions what the client did wrong is no error of a server's span.
        if status is not None and status >= 500:
            self._span.set_status(StatusCode.ERROR)
            self._span.set_attribute("error.type", problem or str(status))
        self._span.set_attributes(attributes)

    def _since_epoch(self, seconds: float) -> int:
        return self._epoch + round(seconds * 1e9)


def _parent(scope: Scope) -> Context:
    headers = Headers(scope=scope)
    carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _resource() -> Resource:
    """Name and version of the service, and what `OTEL_RESOURCE_ATTRIBUTES` adds.

    The model is not among them: it can be loaded anew, so its version is each span's.
    """
    ours = Resource({"service.name": SERVICE, "service.version": installed_version()})
    return Resource.create(ours.merge(OTELResourceDetector().detect()).attributes)
