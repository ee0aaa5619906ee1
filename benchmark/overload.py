"""The service under far more callers than it admits: `python -m benchmark.overload`."""

import argparse
import time
from pathlib import Path
from statistics import median

from benchmark import radiographs
from benchmark.figures import percentile
from benchmark.load import Caller, Load, generator, request
from benchmark.processes import Helper, memory
from benchmark.report import Page, machine, number, table
from benchmark.servers import SERVICE, Server

SINGLE, WARM_UP = 50, 10
MEMORY_SECONDS = 0.5
"""Between two looks at the memory."""


def main() -> None:
    """Measure, and write the table into the page."""
    options = _options()
    page = Page(options.output, "overload")
    sample = radiographs.make("png-1024")
    sent = request(sample.data)
    with Helper(generator) as sender, Server(SERVICE) as server:
        before, memory_before = _unloaded(server, sent), memory([server.pid])
        sender.begin(Load(server.port, sent, options.callers, options.seconds, patient=False))
        most = memory_before
        while sender.busy(MEMORY_SECONDS):
            most = max(most, memory([server.pid]))
        spent = sender.result()
        memory_after, after = memory([server.pid]), _unloaded(server, sent)
    statuses = {200: len(spent.latencies), **spent.others}
    rows = [
        *(_status(status, count) for status, count in sorted(statuses.items())),
        ["p99 of the admitted, ms", number(1000 * percentile(spent.latencies, 99))],
        ["PSS before, MB", number(memory_before)],
        ["PSS at most, MB", number(most)],
        ["PSS after, MB", number(memory_after)],
        [f"p50 of {SINGLE} single requests before, ms", number(before)],
        [f"p50 of {SINGLE} single requests after, ms", number(after)],
        ["generator's CPU, ms per request", number(1000 * spent.generator, 2)],
    ]
    said = f"{machine()} {sample.name}, {options.callers} callers for {options.seconds:g} s."
    page.write(f"{said}\n\n{table(('figure', 'value'), rows)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmark.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--callers", type=int, default=256)
    parser.add_argument("--output", type=Path, default=Path("docs/performance.md"))
    return parser.parse_args()


def _status(status: int, count: int) -> list[str]:
    return [f"answers of status {status}" if status else "connections that broke", str(count)]


def _unloaded(server: Server, sent: bytes) -> float:
    """The median latency of single requests, in ms."""
    caller = Caller(server.port, sent)
    times = []
    for _ in range(WARM_UP + SINGLE):
        begun = time.perf_counter()
        caller.ask()
        times.append(1000 * (time.perf_counter() - begun))
    caller.close()
    return median(times[WARM_UP:])


if __name__ == "__main__":
    main()
