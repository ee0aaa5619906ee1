"""What a request costs the processor beyond its job: `python -m benchmark.overhead`.

CPU milliseconds per radiograph, of the whole job in-process and of the service's processes. Unlike
a throughput they hardly depend on what else the machine does: where all cores are busy, the job's
share of the sum is the service's throughput as a ratio to the whole job's.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import mean

from benchmark import radiographs
from benchmark.load import Caller, request
from benchmark.processes import Helper, children, cpu_seconds
from benchmark.report import Page, machine, number, table
from benchmark.servers import SERVICE, Server
from benchmark.work import localize, open_localizer
from localization.cores import cores

JOB, WORKERS, MAIN, GENERATOR = "whole job", "workers", "main process", "generator"

WARM_UP, TURNS = 10, 5
"""How many radiographs of each kind are not counted; how often job and service take turns."""


def main() -> None:
    """Measure, and write the table into the page."""
    options = _options()
    page = Page(options.output, "overhead")
    rows = []
    with ExitStack() as stack:
        jobs = [stack.enter_context(Helper(counted_job)) for _ in range(cores())]
        server = stack.enter_context(Server(SERVICE))
        for name in options.radiographs:
            data = radiographs.make(name).data
            _spend(jobs, server, data, WARM_UP, options.callers)
            turns = [
                _spend(jobs, server, data, options.requests // TURNS, options.callers)
                for _ in range(TURNS)
            ]
            rows.append(_row(name, {part: mean(turn[part] for turn in turns) for part in turns[0]}))
    parts = (JOB, WORKERS, MAIN, GENERATOR, "share of the job")
    page.write(
        f"{machine()} CPU ms per request, {options.requests} requests of {options.callers} callers."
        f"\n\n{table(('radiograph', *parts), rows)}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmark.overhead", description=__doc__)
    parser.add_argument("--requests", type=int, default=400, help="of each radiograph")
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--radiographs", nargs="+", default=radiographs.NAMES)
    parser.add_argument("--output", type=Path, default=Path("docs/performance.md"))
    return parser.parse_args()


def counted_job() -> Callable[[tuple[bytes, int]], float]:
    """Does the whole job so often with one thread; returns the CPU seconds of one."""
    localizer = open_localizer(1)

    def work(task: tuple[bytes, int]) -> float:
        data, count = task
        begun = time.process_time()
        for _ in range(count):
            localize(localizer, data)
        return (time.process_time() - begun) / count

    return work


def _spend(
    jobs: list[Helper], server: Server, data: bytes, count: int, callers: int
) -> dict[str, float]:
    """CPU seconds of each part, of one radiograph at the mean of ``count``."""
    # As many at a time as in the service: they share the caches.
    for job in jobs:
        job.begin((data, max(1, count // len(jobs))))
    spent = {JOB: sum(job.result() for job in jobs) / len(jobs)}
    before = _used(server)
    _ask(server.port, request(data), count, callers)
    after = _used(server)
    return spent | {part: (after[part] - before[part]) / count for part in after}


def _used(server: Server) -> dict[str, float]:
    """CPU seconds that each part has used."""
    workers = sum(cpu_seconds(child) for child in children(server.pid))
    return {
        WORKERS: workers,
        MAIN: cpu_seconds(server.pid) - workers,
        GENERATOR: time.process_time(),
    }


def _ask(port: int, request: bytes, count: int, callers: int) -> None:
    def call(own: int) -> None:
        caller = Caller(port, request)
        for _ in range(own):
            caller.localize()
        caller.close()

    shares = [count // callers + (number < count % callers) for number in range(callers)]
    with ThreadPoolExecutor(callers) as pool:
        for result in [pool.submit(call, own) for own in shares]:
            result.result()


def _row(name: str, parts: dict[str, float]) -> list[str]:
    share = parts[JOB] / (parts[WORKERS] + parts[MAIN] + parts[GENERATOR])
    return [name, *(number(1000 * seconds, 2) for seconds in parts.values()), number(share, 3)]


if __name__ == "__main__":
    main()
