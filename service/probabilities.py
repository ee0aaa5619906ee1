"""The histogram of the probabilities that the model gives, by which its drift is seen."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from localization import DISEASES
from localization.reference import BOUNDS

LE = [*map(floatToGoString, BOUNDS), "+Inf"]


class _Series:
    """Of one disease and one version of the model."""

    def __init__(self) -> None:
        self.counts = [0] * len(LE)
        """By the smallest bound that is no less."""
        self.sum = 0.0


class Probabilities(Collector):
    """Counts them. The library's own histogram would look at half of all bounds, one by one, for
    each disease of each radiograph."""

    def __init__(self) -> None:
        self._series: dict[str, dict[str, _Series]] = {}
        """By version and disease."""

    def expect(self, version: str) -> None:
        """Have the series of a version, if only with zeros: a rate needs its zero."""
        self._series.setdefault(version, {disease: _Series() for disease in DISEASES})

    def observe(self, version: str, probabilities: Mapping[str, float]) -> None:
        """Count what a version of the model said of one radiograph."""
        self.expect(version)
        by_disease = self._series[version]
        for disease, probability in probabilities.items():
            series = by_disease[disease]
            series.counts[bisect_left(BOUNDS, probability)] += 1
            series.sum += probability

    def describe(self) -> Iterator[Metric]:
        """Name the metric."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """Return all series, as Prometheus counts: each bound with all that lies below."""
        family = self._family()
        for version, by_disease in self._series.copy().items():
            for disease, series in by_disease.items():
                buckets = [*zip(LE, map(float, accumulate(series.counts)), strict=True)]
                family.add_metric([disease, version], buckets, series.sum)
        yield family

    @staticmethod
    def _family() -> HistogramMetricFamily:
        return HistogramMetricFamily(
            "cxr_probability",
            "The probabilities that a version of the model gave; a change of shape is drift.",
            labels=["disease", "version"],
        )
