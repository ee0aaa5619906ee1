"""How long the service takes to be ready, and to stop: `python -m benchmark.start`."""

import argparse
import time
from pathlib import Path
from statistics import median

from benchmark.report import Page, machine, number, table
from benchmark.servers import SERVICE, STOP_SECONDS, Server


def main() -> None:
    """Measure, and write the table into the page."""
    options = _options()
    page = Page(options.output, "start")
    start_and_stop()  # Reads the files from the disk.
    tries = [start_and_stop() for _ in range(options.tries)]
    rows = [
        [name, number(median(seconds), 2), number(max(seconds), 2)]
        for name, seconds in zip(("ready", "stopped"), zip(*tries, strict=True), strict=True)
    ]
    figures = table(("seconds until", "median", "longest"), rows)
    page.write(f"{machine()} {options.tries} times.\n\n{figures}")


def start_and_stop() -> tuple[float, float]:
    """Seconds from the start of the process until it is ready, and from SIGTERM to its end.

    Raises `RuntimeError` where it had to be killed.
    """
    server = Server(SERVICE)
    begun = time.perf_counter()
    server.stop()
    stopped_after = time.perf_counter() - begun
    if stopped_after >= STOP_SECONDS:
        raise RuntimeError("the service does not stop")
    return server.ready_after, stopped_after


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmark.start", description=__doc__)
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--output", type=Path, default=Path("docs/performance.md"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
