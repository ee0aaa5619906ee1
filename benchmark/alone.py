"""What one caller waits for the service, beside the whole job: `python -m benchmark.alone`.

They take turns of a few radiographs each, so that both see the machine at the same speed.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from benchmark import radiographs
from benchmark.figures import percentile
from benchmark.load import Caller, request
from benchmark.report import Page, machine, number, table
from benchmark.servers import SERVICE, Server
from benchmark.work import localize, open_localizer
from localization.cores import cores

WARM_UP, TURN = 2, 10
"""Radiographs of a turn that do not count, and that do."""

HEAD = (
    "radiograph",
    "whole job p50, ms",
    "p99",
    "p99 / p50",
    "service p50, ms",
    "p99",
    "p99 / p50",
    "p50's difference, ms",
)


def main() -> None:
    """Measure, and write the table into the page."""
    options = _options()
    page = Page(options.output, "alone")
    localizer = open_localizer(cores())
    rows = []
    with Server(SERVICE) as server:
        for name in radiographs.NAMES:
            data = radiographs.make(name).data
            caller = Caller(server.port, request(data))
            inside: list[float] = []
            asked: list[float] = []
            for _ in range(options.requests // TURN):
                inside += _turn(lambda data=data: localize(localizer, data))
                asked += _turn(caller.localize)
            caller.close()
            rows.append([name, *_row(inside, asked)])
    page.write(f"{machine()} {options.requests} of each.\n\n{table(HEAD, rows)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmark.alone", description=__doc__)
    parser.add_argument("--requests", type=int, default=300, help=f"of each radiograph, by {TURN}")
    parser.add_argument("--output", type=Path, default=Path("docs/performance.md"))
    return parser.parse_args()


def _turn(work: Callable[[], object]) -> list[float]:
    """Milliseconds of each."""
    times = []
    for _ in range(WARM_UP + TURN):
        begun = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - begun))
    return times[WARM_UP:]


def _row(inside: list[float], asked: list[float]) -> list[str]:
    cells = []
    for times in (inside, asked):
        middle, slowest = percentile(times, 50), percentile(times, 99)
        cells += [number(middle), number(slowest), number(slowest / middle, 2)]
    return [*cells, number(percentile(asked, 50) - percentile(inside, 50))]


if __name__ == "__main__":
    main()
