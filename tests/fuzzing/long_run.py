"""Sends mutated files to a running service, and finds out whether anything comes of it.

`scripts/fuzz` runs it. The service is started here, as a deployment does it; file `number` of a
series is the same wherever it is made, so what fails can be made again.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import httpx
import numpy as np
from mutations import Mutated, mutated
from seeds import PATIENT, seeds, told

from benchmark.processes import memory

ROOT = Path(__file__).parents[2]
CONNECTIONS = 4
START_SECONDS, ANSWER_SECONDS = 120.0, 60.0
PARTS = 10
"""After each of so many parts of the run, the memory and the good radiographs are looked at."""

MOST_GROWTH = 0.1
"""Of the memory after half of the run, by when buffers have reached their size."""

BUSY = frozenset({503, 504})
DEATHS = ("worker died", "worker stuck", "unexpected error")
QUERY = "heatmaps=none&boxes=all"
REQUEST_ID = "5e0b1c0e-5a0f-4b39-9d2a-0c8f4b1f2a11"
"""Of the good radiographs, so that their answers are the same to the last byte."""


class Service:
    """`cxr-localizer serve` on a free port, and what it writes."""

    def __init__(self, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        with log.open("wb") as written:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "commands", "serve"],
                cwd=ROOT,
                env={**os.environ, "CXR_PORT": str(self.port), "CXR_LOG_LEVEL": "debug"},
                stdout=written,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/readyz").is_success:
                    return self
            except httpx.TransportError:
                time.sleep(0.1)
        self.stop()
        raise SystemExit(f"the service does not get ready: {self.log.read_text()[-2000:]}")

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def memory(self) -> float:
        """MB of all its processes, shared memory counted once."""
        return memory([self._process.pid])

    def client(self) -> httpx.Client:
        """One that threads share, and that asks it over so many connections."""
        limits = httpx.Limits(max_connections=CONNECTIONS)
        return httpx.Client(base_url=self.url, timeout=ANSWER_SECONDS, limits=limits)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass
class Found:
    """What became of the files."""

    outcomes: Counter[tuple[int, str]] = field(default_factory=Counter)
    by_kind: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    """Seconds and the file."""

    def add(self, file: Mutated, status: int, reason: str, seconds: float) -> None:
        """Count an answer."""
        self.outcomes[status, reason] += 1
        group = "localized" if status == 200 else "refused" if status < 500 else "failed"
        self.by_kind[file.kind, group] += 1
        self.slowest = max(self.slowest, (seconds, f"file {file.number}: {file.name}"))


class Run:
    """A series of files, sent over several connections."""

    def __init__(self, client: httpx.Client, series: int, folder: Path) -> None:
        self.client, self.series, self.folder = client, series, folder
        self.found = Found()

    def send(self, number: int) -> None:
        """Send a file in one of three ways: raw, as a form, as a form that is broken as well."""
        file = mutated(number, self.series)
        started = time.perf_counter()
        try:
            response = self.client.post(f"/localize?{QUERY}", **request(file))
        except httpx.TransportError as error:
            self._failed(file, f"no answer ({type(error).__name__})")
            return
        reason = reason_of(response)
        self.found.add(file, response.status_code, reason, time.perf_counter() - started)
        if response.status_code >= 500 and response.status_code not in BUSY:
            self._failed(file, f"{response.status_code} {reason}")
        if secrets := told(response.content + str(response.headers).encode()):
            self._failed(file, f"the answer tells {secrets[0]!r}")

    def _failed(self, file: Mutated, what: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = self.folder / f"{self.series}-{file.number:06}.bin"
        saved.write_bytes(file.data)
        self.found.failures.append(f"file {file.number} ({file.name}): {what}; saved as {saved}")


def request(file: Mutated) -> dict[str, Any]:
    """How a file is sent; by its number."""
    if file.number % 3 == 0:
        return {"content": file.data, "headers": {"Content-Type": "application/octet-stream"}}
    form = httpx.Request("POST", "http://x", files={"file": (f"{PATIENT}.dcm", file.data)})
    content, headers = form.read(), {"Content-Type": form.headers["Content-Type"]}
    if file.number % 30 == 1:
        place = file.number * 7919 % len(content)
        content = content[:place] + content[place + 1 + file.number % 50 :]
    return {"content": content, "headers": headers}


def reason_of(response: httpx.Response) -> str:
    """`localized`, the problem's name, or that the answer is neither."""
    try:
        answer = response.json()
        return "localized" if "findings" in answer else str(answer["type"]).rsplit("/", 1)[1]
    except (ValueError, LookupError):
        return "no answer that was promised"


def good_answers(client: httpx.Client) -> list[bytes]:
    """What becomes of radiographs that were not mutated, one of each format."""
    formats = {seed.kind: seed for seed in reversed(seeds()) if seed.is_read}
    answers = []
    for seed in formats.values():
        response = client.post(
            "/localize?boxes=all", content=seed.data, headers={"X-Request-ID": REQUEST_ID}
        )
        answers.append(b"%d %s" % (response.status_code, response.content))
    return answers


def parts(count: int) -> Iterator[range]:
    """The files' numbers, part by part."""
    edges = np.linspace(0, count, PARTS + 1, dtype=int)
    yield from (range(start, end) for start, end in pairwise(edges))


def fuzz(service: Service, run: Run, count: int) -> Found:
    """Send all files, and look at the service between the parts and at the end."""
    found = run.found
    before = good_answers(run.client)
    if not all(answer.startswith(b"200 ") for answer in before):
        found.failures.append("not every good radiograph is localized, before anything was sent")
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for part in parts(count):
            list(pool.map(run.send, part))
            if good_answers(run.client) != before:
                found.failures.append(f"good radiographs are answered otherwise after {part}")
            found.memory.append(service.memory)
            print(f"{part.stop} files, {found.memory[-1]:.0f} MB", file=sys.stderr, flush=True)
    if secrets := told(run.client.get("/metrics").content):
        found.failures.append(f"the metrics tell {secrets[0]!r}")
    middle, last = found.memory[PARTS // 2 - 1], found.memory[-1]
    if last > middle * (1 + MOST_GROWTH):
        found.failures.append(f"memory grew from {middle:.0f} MB to {last:.0f} MB")
    return found


def read_log(log: Path, found: Found) -> None:
    """Add what the service itself has written of failures, or of a patient."""
    written = log.read_bytes()
    if secrets := told(written):
        found.failures.append(f"the log tells {secrets[0]!r}")
    for line in written.decode("utf-8", "replace").splitlines():
        event = json.loads(line).get("event") if line.startswith("{") else None
        if event in DEATHS:
            found.failures.append(line)


def table(found: Found, count: int, seconds: float) -> str:
    """Markdown: what became of the files."""
    lines = ["| status | outcome | files |", "|--:|---|--:|"]
    for (status, reason), files in sorted(found.outcomes.items()):
        lines.append(f"| {status} | {reason} | {files} |")
    lines += ["", "| format | localized | refused | failed |", "|---|--:|--:|--:|"]
    for kind in sorted({kind for kind, _ in found.by_kind}):
        counts = (found.by_kind[kind, group] for group in ("localized", "refused", "failed"))
        lines.append(f"| {kind} | {' | '.join(map(str, counts))} |")
    memory = ", ".join(f"{megabytes:.0f}" for megabytes in found.memory)
    lines += [
        "",
        f"{count:,} files in {seconds / 60:.1f} minutes over {CONNECTIONS} connections: "
        f"{len(found.failures)} failures. Memory of all processes after each tenth, in MB: "
        f"{memory}. Slowest answer: {found.slowest[0]:.2f} s.",
    ]
    return "\n".join(lines)


def main() -> int:
    """Return the exit status: 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="how many; 10,000 by default")
    parser.add_argument("--series", type=int, default=0, help="which files; another one: others")
    parser.add_argument(
        "--failures", type=Path, default=ROOT / "runs/fuzz", help="folder for files that fail"
    )
    chosen = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        with Service(Path(folder) / "log") as service, service.client() as client:
            found = fuzz(service, Run(client, chosen.series, chosen.failures), chosen.files)
        read_log(service.log, found)
    print(table(found, chosen.files, time.monotonic() - started))
    print(f"slowest: {found.slowest[1]}", file=sys.stderr)
    for failure in found.failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return int(bool(found.failures))


if __name__ == "__main__":
    sys.exit(main())
