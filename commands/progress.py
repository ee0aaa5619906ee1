"""How far a harvest has come, on stderr: drawn on a terminal, else a plain line now and then."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from harvesting.shard import Done

DRAW_SECONDS = 0.2
"""Between two counts on a terminal."""

LINE_SECONDS = 60.0
"""Between two lines where there is none: a log of a run of days stays readable."""


@contextmanager
def listing() -> Iterator[Callable[[int], None]]:
    """Gives what is told how many files are found so far."""
    console = _console()
    if not console.is_terminal:
        yield _now_and_then(LINE_SECONDS, _tell_found)
        return
    with console.status("Listing the source") as status:

        def draw(count: int) -> None:
            status.update(f"Listing the source: {count} files found so far")

        yield _now_and_then(DRAW_SECONDS, draw)


@contextmanager
def working(files: int, remaining: int) -> Iterator[Callable[["Done"], None]]:
    """Gives what is told of each shard that is done, of a run that has so many files left."""
    console = _console()
    if console.is_terminal:
        with _bar(console, files, remaining) as report:
            yield report
    else:
        yield _Lines(files, remaining)


def _console() -> "Console":
    from rich.console import Console

    return Console(stderr=True)


def _now_and_then(seconds: float, tell: Callable[[int], None]) -> Callable[[int], None]:
    told = monotonic()

    def found(count: int) -> None:
        nonlocal told
        if monotonic() - told >= seconds:
            told = monotonic()
            tell(count)

    return found


def _tell_found(count: int) -> None:
    typer.echo(f"Listing: {count} files found so far.", err=True)


class _Lines:
    """One line a minute, as shards are done."""

    def __init__(self, files: int, remaining: int) -> None:
        self._files, self._remaining = files, remaining
        self._worked_on = self._failed = 0
        self._begun = self._told = monotonic()

    def __call__(self, done: "Done") -> None:
        self._worked_on += done.counts.radiographs
        self._failed += sum(done.counts.failed.values())
        if monotonic() - self._told >= LINE_SECONDS:
            self._told = monotonic()
            typer.echo(self._line(self._told - self._begun), err=True)

    def _line(self, seconds: float) -> str:
        """Rate, failures and the time that is left are by this sitting."""
        left, rate = self._remaining - self._worked_on, self._worked_on / seconds
        return (
            f"{self._files - left} of {self._files} files, {rate:.1f}/s, {self._failed} failed, "
            f"{timedelta(seconds=round(left / rate))} left."
        )


@contextmanager
def _bar(console: "Console", files: int, remaining: int) -> Iterator[Callable[["Done"], None]]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f}/s"),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, speed_estimate_period=120) as progress:
        task = progress.add_task("", total=files, completed=files - remaining, failed=0, rate=0.0)

        def report(done: "Done") -> None:
            shown = progress.tasks[task]
            failed = shown.fields["failed"] + sum(done.counts.failed.values())
            progress.update(
                task, advance=done.counts.radiographs, failed=failed, rate=shown.speed or 0.0
            )

        yield report
