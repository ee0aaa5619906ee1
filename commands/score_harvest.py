"""`cxr-localizer score-harvest`: a harvested data set against the official boxes."""

from pathlib import Path
from typing import Annotated

import typer

from commands.options import clear_errors, extra


def score_harvest(
    dataset: Annotated[str, typer.Argument(help="Folder or URL of the data set.")],
    data: Annotated[
        Path,
        typer.Option("--data", envvar="CHESTXRAY14_DIR", help="Folder of ChestX-ray14's files."),
    ],
    output: Annotated[Path | None, typer.Option(help="JSON file of all figures.")] = None,
) -> None:
    """Score the boxes of a harvest of ChestX-ray14, made in labelled mode."""
    import json

    with extra("train"):
        from harvesting.dataset import Dataset
        from training.dataset import ChestXray14
        from training.harvest_scores import score_harvest as score
        from training.report import print_harvest
    with clear_errors():
        figures = score(Dataset.open(dataset), ChestXray14.read(data))
    print_harvest(figures)
    if output is not None:
        output.write_text(json.dumps(figures, indent=1) + "\n")
