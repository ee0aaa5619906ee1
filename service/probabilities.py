"""The histogram of the probabilities that the model gives, by which its drift is seen."""

from collections.abc import Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from localization import DISEASES
from localization.reference import BOUNDS
from service.histogram import Histogram


class Probabilities(Collector):
    """Counts them."""

    def __init__(self) -> None:
        self._series: dict[str, dict[str, Histogram]] = {}
        """By version and disease."""

    def expect(self, version: str) -> None:
        """Have the series of a version, if only with zeros: a rate needs its zero."""
        if version not in self._series:
            self._series[version] = {disease: Histogram(BOUNDS) for disease in DISEASES}

    def observe(self, version: str, probabilities: Mapping[str, float]) -> None:
        """Count what a version of the model said of one radiograph."""
        self.expect(version)
        by_disease = self._series[version]
        for disease, probability in probabilities.items():
            by_disease[disease].observe(probability)

    def describe(self) -> Iterator[Metric]:
        """Name the metric."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """Return all series."""
        family = self._family()
        for version, by_disease in self._series.copy().items():
            for disease, histogram in by_disease.items():
                family.add_metric([disease, version], histogram.buckets(), histogram.sum)
        yield family

    @staticmethod
    def _family() -> HistogramMetricFamily:
        return HistogramMetricFamily(
            "cxr_probability",
            "The probabilities that a version of the model gave; a change of shape is drift.",
            labels=["disease", "version"],
        )
