"""What Prometheus is told: how long, how many, why not, and what the model says."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.process_collector import ProcessCollector

from localization import DISEASES
from service.task import Reply

STAGES = ("queue", "decode", "inference", "boxes", "encode", "total")
OUTCOMES = ("answered", "refused", "turned_away", "failed", "abandoned")

RELOADS = ("loaded", "refused")

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.045, 0.06, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)
PROBABILITIES = tuple(step / 20 for step in range(1, 21))


class Metrics:
    """The metrics of one app, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        stages = Histogram(
            "cxr_stage_seconds",
            "Seconds that a stage of POST /localize took; total runs from the last byte of the "
            "request to the answer's being ready.",
            ["stage"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.requests = Counter(
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
        probabilities = Histogram(
            "cxr_probability",
            "The probabilities that the model gave; a change of shape is drift.",
            ["disease"],
            buckets=PROBABILITIES,
            registry=self.registry,
        )
        self.model = Info("cxr_model", "The model that is served.", registry=self.registry)
        self.reloads = Counter(
            "cxr_reloads", "Models loaded anew, by outcome.", ["outcome"], registry=self.registry
        )
        ProcessCollector(registry=self.registry)
        # Every known series exists from the start: a rate needs its zero.
        self.stages = {stage: stages.labels(stage) for stage in STAGES}
        self.probabilities = {disease: probabilities.labels(disease) for disease in DISEASES}
        for outcome in OUTCOMES:
            self.requests.labels(outcome)
        for outcome in RELOADS:
            self.reloads.labels(outcome)

    def observe(self, reply: Reply) -> None:
        """Tell what a radiograph took, and what the model says of it."""
        for stage, seconds in reply.seconds.items():
            self.stages[stage].observe(seconds)
        for disease, probability in reply.probabilities.items():
            self.probabilities[disease].observe(probability)
