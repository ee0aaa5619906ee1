"""One request's time, stage by stage: `python -m benchmark.stages`.

In-process by the clock around each function, in the service by its own histogram while one
caller asks. Both have all cores, and they take turns.
"""

import argparse
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median

import httpx
import orjson

from benchmark import radiographs
from benchmark.load import Caller, request
from benchmark.report import Page, machine, number, table
from benchmark.servers import SERVICE, Server
from benchmark.work import decode, open_localizer
from localization import Localizer, to_answer
from localization.cores import cores

WARM_UP, TURNS = 5, 5

SAMPLE = re.compile(r'^cxr_stage_seconds_(sum|count)\{stage="(\w+)"\} (\S+)$', re.MULTILINE)

Times = dict[str, list[float]]
"""Seconds by stage, of each radiograph."""


def main() -> None:
    """Measure, and write the table into the page."""
    options = _options()
    page = Page(options.output, "stages")
    sample = radiographs.make("png-1024")
    localizer = open_localizer(cores())
    inside: Times = defaultdict(list)
    asked: list[float] = []
    with Server(SERVICE) as server:
        caller = Caller(server.port, request(sample.data))
        _ask(caller, WARM_UP)
        _work(localizer, sample.data, WARM_UP, defaultdict(list))
        before = _totals(server)
        for _ in range(TURNS):
            _work(localizer, sample.data, options.requests // TURNS, inside)
            asked += _ask(caller, options.requests // TURNS)
        served = _means(before, _totals(server))
        caller.close()
    page.write(f"{machine()} {sample.name}, {len(asked)} times.\n\n{_table(inside, served, asked)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmark.stages", description=__doc__)
    parser.add_argument("--requests", type=int, default=200, help=f"{TURNS} or more")
    parser.add_argument("--output", type=Path, default=Path("docs/performance.md"))
    return parser.parse_args()


def _work(localizer: Localizer, data: bytes, count: int, times: Times) -> None:
    """Do the whole job so often, and note what each stage took."""
    for _ in range(count):
        with _timed(times["whole"]):
            with _timed(times["decode"]):
                radiograph, inputs = decode(localizer, data)
            with _timed(times["inference"]):
                outputs = localizer.infer(inputs)
            with _timed(times["boxes"]):
                (localization,) = localizer.interpret([radiograph], outputs, "positive")
            with _timed(times["encode"]):
                orjson.dumps(to_answer(localization, id="benchmark"))


@contextmanager
def _timed(times: list[float]) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    times.append(time.perf_counter() - begun)


def _ask(caller: Caller, count: int) -> list[float]:
    """Seconds until each of so many answers."""
    times: list[float] = []
    for _ in range(count):
        with _timed(times):
            caller.localize()
    return times


def _totals(server: Server) -> dict[str, tuple[float, float]]:
    """Seconds and number of all that the service has timed, by stage."""
    values = {
        (stage, kind): float(value)
        for kind, stage, value in SAMPLE.findall(httpx.get(f"{server.url}/metrics").text)
    }
    return {stage: (values[stage, "sum"], values[stage, "count"]) for stage, _ in values}


def _means(
    before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]
) -> dict[str, float]:
    """Seconds of each stage that was timed in between, at the mean."""
    return {
        stage: (seconds - before[stage][0]) / (count - before[stage][1])
        for stage, (seconds, count) in after.items()
        if count > before[stage][1]
    }


def _table(inside: Times, served: dict[str, float], asked: list[float]) -> str:
    """A row per stage; what the service's stages leave over of a request is HTTP."""
    total = served.pop("total")
    rows = {
        **served,
        "between the stages": total - sum(served.values()),
        "rest of HTTP": mean(asked) - total,
        "whole": mean(asked),
    }
    return table(
        ("stage", "in-process, median ms", "in-process, mean ms", "service, mean ms"),
        [[stage, *_inside(inside.get(stage)), _ms(seconds)] for stage, seconds in rows.items()],
    )


def _inside(times: list[float] | None) -> list[str]:
    return [_ms(median(times)), _ms(mean(times))] if times else ["–", "–"]


def _ms(seconds: float) -> str:
    return number(1000 * seconds, 2)


if __name__ == "__main__":
    main()
