"""`cxr-localizer review`, `review-export`, `review-agreement`: people and mined boxes."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from commands.options import clear_errors, extra, fail

if TYPE_CHECKING:
    from harvesting.dataset import Dataset
    from harvesting.reopening import SourceReader
    from reviewing.agreement import Agreement
    from reviewing.log import Log


class Unjudged(StrEnum):
    drop = "drop"
    keep = "keep"


DatasetArgument = Annotated[
    str, typer.Argument(metavar="DIR", help="Folder of a harvested data set.")
]

app = typer.Typer()


@app.command()
def review(
    dataset: DatasetArgument,
    source: Annotated[
        str | None,
        typer.Option(help="Where the radiographs are now; by default where they were harvested."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8100,
    open_to_all: Annotated[
        bool,
        typer.Option(
            "--open",
            help="Let everyone who reaches HOST see the radiographs and judge; without it, only "
            "this machine's addresses are listened on.",
        ),
    ] = False,
    reviewer: Annotated[
        str | None, typer.Option(help="Your name in the log; without it the page asks.")
    ] = None,
) -> None:
    """Review mined boxes on a local page: accept, move, resize, reject, relabel.

    Decisions are appended to DIR/reviews.sqlite; what was mined stays as it is.
    """
    name = None if reviewer is None else _name(reviewer)
    with _opened(dataset, begin=True) as (opened, log):
        from reviewing.addresses import is_loopback
        from reviewing.app import create_app
        from reviewing.desk import Desk
        from reviewing.server import serve

        if not is_loopback(host):
            if not open_to_all:
                fail(f"{host} is open to other machines, and a review asks for no key: say --open.")
            typer.echo(f"Everyone who reaches {host} can see the radiographs and judge.", err=True)
        desk = Desk.open(opened, log, _reader(opened, source))
        serve(create_app(desk, host=host, reviewer=name), host, port, _tell)


@app.command("review-export")
def export(
    dataset: DatasetArgument,
    out: Annotated[str, typer.Option(help="Folder or URL of the reviewed data set.")],
    unjudged: Annotated[
        Unjudged,
        typer.Option(
            help="Boxes that nobody has judged: drop them, and radiographs without a judged box, "
            "or keep them as they were mined."
        ),
    ] = Unjudged.drop,
) -> None:
    """Write the reviewed data set, in the form of the harvested one.

    A box stays as more than half of its reviewers want it; where there is no such majority it
    stays out.
    """
    with _opened(dataset, begin=False) as (opened, log):
        from reviewing.export import export_reviewed

        command = ["cxr-localizer", *sys.argv[1:]]
        run = export_reviewed(opened, log, out, unjudged.value, command)
    boxes = ", ".join(f"{n} {name}" for name, n in run.settings["reviewed"]["boxes"].items())
    typer.echo(f"Wrote {out}. Boxes: {boxes}.")


@app.command("review-agreement")
def agreement(dataset: DatasetArgument) -> None:
    """Print how far reviewers agree, pair by pair."""
    with _opened(dataset, begin=False) as (_, log):
        from reviewing.agreement import measure_agreement

        pairs = measure_agreement(log)
    if not pairs:
        typer.echo("No box has been judged by two reviewers.")
        return
    _print(pairs)


def _print(pairs: "list[Agreement]") -> None:
    from rich.console import Console
    from rich.table import Table

    heads = ("Reviewers", "Boxes", "Agreement", "Kappa", "Same disease", "Moved", "IoU")
    table = Table(*heads, title="Agreement on keeping or rejecting boxes")
    for pair in pairs:
        figures = (pair.agreement, pair.kappa, pair.same_disease)
        agreed = ["–" if figure is None else f"{figure:.3f}" for figure in figures]
        iou = "–" if pair.iou is None else f"{pair.iou:.3f}"
        table.add_row(" / ".join(pair.reviewers), str(pair.boxes), *agreed, str(pair.moved), iou)
    Console().print(table)


@contextmanager
def _opened(url: str, *, begin: bool) -> "Iterator[tuple[Dataset, Log]]":
    """A local data set and its log, which begins here or is read alone; what is wrong with either,
    in a sentence."""
    with extra("harvest"):
        from harvesting.dataset import Dataset
        from reviewing.log import Log, local_folder
        from reviewing.log_file import REVIEWS
    with clear_errors(), _clear_database_errors():
        folder = local_folder(url)
        dataset = Dataset.open(str(folder))
        if begin and not (folder / REVIEWS).exists():
            typer.echo("The mined boxes are put in order first, this once.", err=True)
        with Log.open(folder) if begin else Log.open_to_read(folder) as log:
            yield dataset, log


@contextmanager
def _clear_database_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        fail(f"The log of decisions cannot be used: {error}.")


def _name(reviewer: str) -> str:
    """A reviewer's name, before anything is begun."""
    with extra("harvest"):
        from reviewing.schemas import require_name
    with clear_errors():
        return require_name(reviewer)


def _reader(dataset: "Dataset", source: str | None) -> "SourceReader":
    """Reads the radiographs of a data set, wherever they are now."""
    from harvesting.reopening import SourceReader
    from harvesting.sources import SourceRefused

    try:
        return SourceReader.of(dataset, source)
    except SourceRefused as error:
        fail(f"{error} Say by --source where the radiographs are.")


def _tell(address: str) -> None:
    typer.echo(f"Review at {address} (Ctrl-C ends it)")
