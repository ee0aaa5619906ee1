"""What Prometheus is told: how long, how many, why not, and what the model says."""

from itertools import pairwise

from prometheus_client import CollectorRegistry, Counter, Gauge, Info
from prometheus_client.process_collector import ProcessCollector

from localization import Manifest
from service.durations import Durations
from service.probabilities import Probabilities
from service.resources import Resources
from service.task import Reply

STAGES = ("queue", "decode", "inference", "boxes", "encode", "total")
OUTCOMES = ("answered", "refused", "denied", "turned_away", "failed", "abandoned")

RELOADS = ("loaded", "refused")


class Metrics:
    """The metrics of one app, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        durations = Durations(STAGES)
        self.registry.register(durations)
        self.stages = durations.stages
        requests = Counter(
            "cxr_requests", "POST /localize by outcome.", ["outcome"], registry=self.registry
        )
        self.refusals = Counter(
            "cxr_refusals",
            "POST /localize not answered with a localization, by the last part of the problem's "
            "type.",
            ["reason"],
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "cxr_requests_in_flight", "POST /localize under way.", registry=self.registry
        )
        self.queue_depth = Gauge(
            "cxr_queue_depth", "Radiographs that wait for a worker.", registry=self.registry
        )
        self.queue_limit = Gauge(
            "cxr_queue_limit", "Radiographs that may wait for a worker.", registry=self.registry
        )
        self.ready = Gauge(
            "cxr_ready", "1 where radiographs may be sent here, else 0.", registry=self.registry
        )
        self.warnings = Counter(
            "cxr_warnings",
            "What answers warned of, by the warning's code.",
            ["code"],
            registry=self.registry,
        )
        self.probabilities = Probabilities()
        self.registry.register(self.probabilities)
        self.reference = Gauge(
            "cxr_reference_probability_share",
            "Share of the reference's radiographs whose probability is above one bound and not "
            "above the other; absent where the manifest has no reference.",
            ["disease", "above", "up_to", "version"],
            registry=self.registry,
        )
        self.model = Info("cxr_model", "The model that is served.", registry=self.registry)
        self.reloads = Counter(
            "cxr_reloads", "Models loaded anew, by outcome.", ["outcome"], registry=self.registry
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(Resources())
        # Every known series exists from the start: a rate needs its zero.
        self.outcomes = {outcome: requests.labels(outcome) for outcome in OUTCOMES}
        for outcome in RELOADS:
            self.reloads.labels(outcome)

    def compare_with(self, manifest: Manifest) -> None:
        """Probabilities are those of this model from now on, and so is their reference."""
        self.probabilities.expect(manifest.version)
        self.reference.clear()
        if manifest.reference is None:
            return
        for disease, bins in manifest.reference.diseases.items():
            edges = pairwise((0, *bins.bounds))  # As labels, they read as the histogram's `le`.
            for (above, up_to), share in zip(edges, bins.shares, strict=True):
                self.reference.labels(disease, above, up_to, manifest.version).set(share)

    def observe(self, reply: Reply) -> None:
        """Tell what a radiograph took, and what the model says of it."""
        for stage, seconds in reply.seconds.items():
            self.stages[stage].observe(seconds)
        self.probabilities.observe(reply.model_version, reply.probabilities)
        for code in reply.warnings:
            self.warnings.labels(code).inc()
