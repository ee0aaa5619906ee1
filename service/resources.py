"""Memory and CPU time of the main process and of its workers, as /proc says at each scrape."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

PROC = Path("/proc")

PROCESSES = ("main", "workers")
"""The main process; and all that descend from it, with the one that workers are copies of."""

GONE = (FileNotFoundError, ProcessLookupError)
"""A process may end before it is asked."""


class Resources(Collector):
    """Collects the two metrics; what a worker used that has ended stays counted."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        """By process, when it was last seen."""
        self._of_ended = 0.0
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Read both of all processes."""
        workers = list(_descendants(os.getpid()))
        memory = GaugeMetricFamily(
            "cxr_memory_bytes",
            "Proportional set size: pages that processes share are divided among them.",
            labels=["processes"],
        )
        cpu = CounterMetricFamily("cxr_cpu_seconds", "CPU time used.", labels=["processes"])
        main = os.getpid()
        for processes, bytes_, seconds in (
            ("main", _pss(main), _cpu_seconds(main)),
            ("workers", sum(map(_pss, workers)), self._workers_seconds(workers)),
        ):
            memory.add_metric([processes], bytes_)
            cpu.add_metric([processes], seconds)
        yield memory
        yield cpu

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering is no reason to read."""
        return iter(())

    def _workers_seconds(self, workers: list[int]) -> float:
        with self._lock:
            now = {pid: _cpu_seconds(pid) for pid in workers}
            ended = self._seconds.keys() - now.keys()
            self._of_ended += sum(self._seconds[pid] for pid in ended)
            self._seconds = now
            return self._of_ended + sum(now.values())


def _descendants(pid: int) -> Iterator[int]:
    """The processes that one has started, and those that they have."""
    for children in (PROC / str(pid) / "task").glob("*/children"):
        found = ""
        with suppress(*GONE):
            found = children.read_text()
        for child in map(int, found.split()):
            yield child
            yield from _descendants(child)


def _pss(pid: int) -> int:
    """In bytes."""
    with suppress(*GONE):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _cpu_seconds(pid: int) -> float:
    """Of all its threads, in user and kernel mode."""
    with suppress(*GONE):
        # After the name, which may hold blanks: the 12th and 13th fields are utime and stime.
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
