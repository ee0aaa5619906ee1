"""The benchmark: rounds in which every method gets a time slice on every radiograph.

As a machine's speed drifts, the whole job has a short slice between any two of them: ratios of
rates are to what it reached just before and just after. Each round has an order of its own.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import orjson

from benchmark import radiographs
from benchmark.figures import Figures, Turn, rate_ratio
from benchmark.load import Load, generator, request
from benchmark.processes import Helper, cpu_seconds, memory
from benchmark.radiographs import Sample
from benchmark.report import Page, machine, number, table
from benchmark.servers import LITSERVE, SERVICE, Server
from benchmark.work import Task, bare_session, localize, open_localizer, whole_job
from localization.cores import cores

CONCURRENCIES = (1, 4, 16, 64)
BASE_SHARE = 1 / 2
"""Of a time slice: how long the whole job's is that lies between two of others."""
IDLE_SECONDS = 3.0
WHOLE_JOB = "whole job"

HEAD = (
    "method",
    "callers",
    "radiographs/s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "PSS MB",
    "not localized",
    "generator's CPU, ms per request",
)


@dataclass(frozen=True)
class Method:
    """One way to have radiographs localized."""

    name: str
    callers: int
    spend: Callable[[Sample, float], Turn]


Rounds = dict[str, dict[Method, list[Turn]]]
"""By radiograph and method."""


def main() -> None:
    """Measure, and write the tables into the page."""
    options = _options()
    page = Page(options.output, "measured")
    samples = [radiographs.make(name) for name in options.radiographs]
    with ExitStack() as stack:
        service = stack.enter_context(Server(SERVICE))
        litserve = stack.enter_context(Server(LITSERVE))
        _check_answers(samples, [service, litserve])
        idle = _idle({"the service": service, "LitServe": litserve})
        methods = _methods(stack, service, litserve)
        rounds = _run(methods, samples, options.seconds, options.rounds)
    page.write(_describe(samples, rounds, idle, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmark", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a time slice")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--radiographs",
        nargs="+",
        choices=radiographs.NAMES,
        default=radiographs.NAMES,
        metavar="NAME",
        help=", ".join(radiographs.NAMES),
    )
    parser.add_argument(
        "--output", type=Path, default=Path("docs/performance.md"), help="page of the tables"
    )
    return parser.parse_args()


def _methods(stack: ExitStack, service: Server, litserve: Server) -> list[Method]:
    """All methods, the in-process ones first; their processes end with the stack."""

    def helpers(count: int, *arguments: Any) -> list[Helper]:
        return [stack.enter_context(Helper(*arguments)) for _ in range(count)]

    def pool(workers: list[Helper]) -> Callable[[Sample, float], Turn]:
        return lambda sample, seconds: _spend_in_process(workers, sample, seconds)

    sender = stack.enter_context(Helper(generator))

    def served(server: Server, callers: int) -> Callable[[Sample, float], Turn]:
        return lambda sample, seconds: _spend_served(server, sender, callers, sample, seconds)

    return [
        Method("bare session", cores(), pool(helpers(cores(), bare_session, 1))),
        Method(WHOLE_JOB, cores(), pool(helpers(cores(), whole_job, 1))),
        Method(WHOLE_JOB, 1, pool(helpers(1, whole_job, cores()))),
        *(Method("service", count, served(service, count)) for count in CONCURRENCIES),
        *(Method("LitServe", count, served(litserve, count)) for count in CONCURRENCIES),
    ]


def _run(
    methods: Sequence[Method], samples: Sequence[Sample], seconds: float, count: int
) -> Rounds:
    rounds: Rounds = {sample.name: {method: [] for method in methods} for sample in samples}
    job = _jobs(methods)[0]
    for index in range(count):
        for sample in samples:
            # The same orders in each run.
            order = Random(f"{index} {sample.name}").sample(methods, len(methods))
            for method, turn in _round(order, job, sample, seconds):
                rounds[sample.name][method].append(turn)
                _say(
                    f"round {index + 1}/{count}, {sample.name}, {method.name} at {method.callers}: "
                    f"{turn.rate:.1f}/s, {turn.rate / turn.base:.2f} of the whole job"
                )
    return rounds


def _jobs(methods: Iterable[Method]) -> list[Method]:
    """The whole job, with one process per core and with one caller."""
    return [method for method in methods if method.name == WHOLE_JOB]


def _round(
    methods: Sequence[Method], job: Method, sample: Sample, seconds: float
) -> Iterator[tuple[Method, Turn]]:
    """Each method's turn, between two of the whole job."""
    before = job.spend(sample, seconds * BASE_SHARE)
    for method in methods:
        turn = method.spend(sample, seconds)
        after = job.spend(sample, seconds * BASE_SHARE)
        yield method, replace(turn, base=(before.rate + after.rate) / 2)
        before = after


def _spend_in_process(workers: list[Helper], sample: Sample, seconds: float) -> Turn:
    for worker in workers:
        worker.begin(Task(sample.data, seconds))
    slices = [worker.result() for worker in workers]
    return Turn(slices, memory([worker.pid for worker in workers]))


def _spend_served(
    server: Server, sender: Helper, callers: int, sample: Sample, seconds: float
) -> Turn:
    with _awake(server):
        sender.begin(Load(server.port, request(sample.data), callers, seconds))
        spent = sender.result()
        return Turn([spent], memory([server.pid]))


@contextmanager
def _awake(server: Server) -> Iterator[None]:
    """Let a paused server run for as long as it is measured."""
    server.resume()
    try:
        yield
    finally:
        server.pause()


def _idle(servers: dict[str, Server]) -> str:
    """What servers cost while nothing asks them; pauses them."""
    before = {name: cpu_seconds(server.pid) for name, server in servers.items()}
    time.sleep(IDLE_SECONDS)
    shares = {
        name: (cpu_seconds(server.pid) - before[name]) / IDLE_SECONDS
        for name, server in servers.items()
    }
    for server in servers.values():
        server.pause()
    said = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
    return f"Idle, the servers took of one core: {said}; each was paused while others ran."


def _check_answers(samples: Sequence[Sample], servers: Sequence[Server]) -> None:
    """Raises `ValueError` where a server finds something else than the functions it serves."""
    localizer = open_localizer(cores())
    for sample in samples:
        expected = _probabilities(orjson.loads(localize(localizer, sample.data)))
        for server in servers:
            found = _probabilities(server.client.localize(sample.data))
            if any(abs(found[name] - value) > 1e-4 for name, value in expected.items()):
                raise ValueError(f"{sample.name}: expected {expected}, a server answers {found}")


def _probabilities(answer: dict[str, Any]) -> dict[str, float]:
    return {finding["disease"]: finding["probability"] for finding in answer["findings"]}


def _describe(
    samples: Sequence[Sample], rounds: Rounds, idle: str, options: argparse.Namespace
) -> str:
    parts = [
        machine(),
        f"{options.rounds} rounds of {options.seconds:g} s: mean rates, latencies of all rounds "
        "together, medians of memory. In brackets, ratios to the whole job in-process, one process "
        "per core (latencies of one caller: to its one caller). Those of rates are to its rate "
        f"just before and after, in slices {BASE_SHARE:g} as long, with their standard error; the "
        f"others are to its own row. Not localized: in all rounds together. {idle}",
    ]
    for sample in samples:
        parts.append(f"### {sample.name}, {len(sample.data) / 1e6:.2f} MB")
        parts.append(_table(rounds[sample.name]))
    return "\n\n".join(parts)


def _table(rounds: dict[Method, list[Turn]]) -> str:
    base, alone = (Figures.of(rounds[job]) for job in _jobs(rounds))
    return table(
        HEAD,
        [
            [
                method.name,
                str(method.callers),
                *_row(turns, base.memory, alone if method.callers == 1 else base),
            ]
            for method, turns in rounds.items()
        ],
    )


def _row(turns: list[Turn], memory: float, latencies: Figures) -> Iterator[str]:
    """The cells of a method's figures with their ratios."""
    figures = Figures.of(turns)
    ratio, error = rate_ratio(turns)
    yield f"{number(figures.rate)} ({number(ratio, 2)} ± {number(error, 2)})"
    for name in ("p50", "p95", "p99"):
        latency = getattr(figures, name)
        yield _compared(latency, getattr(latencies, name))
    yield _compared(figures.memory, memory)
    yield str(figures.others)
    yield number(figures.generator, 2) if figures.generator else "–"


def _compared(value: float, base: float) -> str:
    return f"{number(value)} ({number(value / base, 2)})"


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
