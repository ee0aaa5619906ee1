"""The histogram of the seconds that the stages of a request took."""

from collections.abc import Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from service.histogram import Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.045, 0.06, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)


class Durations(Collector):
    """Counts them, each stage's by its name in ``stages``."""

    def __init__(self, stages: Sequence[str]) -> None:
        self.stages = {stage: Histogram(SECONDS) for stage in stages}

    def describe(self) -> Iterator[Metric]:
        """Name the metric."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """Return all series."""
        family = self._family()
        for stage, histogram in self.stages.items():
            family.add_metric([stage], histogram.buckets(), histogram.sum)
        yield family

    @staticmethod
    def _family() -> HistogramMetricFamily:
        return HistogramMetricFamily(
            "cxr_stage_seconds",
            "Seconds that a stage of POST /localize took; total runs from the last byte of the "
            "request to the answer's being ready.",
            labels=["stage"],
        )
