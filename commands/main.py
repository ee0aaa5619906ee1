"""`cxr-localizer`: serve, make keys, localize, train, export, quantize, evaluate.

Every command imports its room when it runs: serving needs no torch, `--help` needs nothing.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from commands import review
from commands.harvest import harvest
from commands.options import (
    Gate,
    ModelOption,
    Provider,
    ProviderOption,
    clear_errors,
    extra,
    fail,
    open_localizer,
)
from commands.score_harvest import score_harvest

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(review.app)
app.command()(score_harvest)


class Heatmaps(StrEnum):
    png = "png"
    values = "values"
    none = "none"


class Boxes(StrEnum):
    positive = "positive"
    all = "all"
    none = "none"


DataOption = Annotated[
    Path,
    typer.Option("--data", envvar="CHESTXRAY14_DIR", help="Folder of ChestX-ray14's files."),
]
CacheOption = Annotated[Path, typer.Option(help="Folder of decoded radiographs.")]

DATA = Path("data/chestxray14")
CACHE = Path("runs/cache")


app.command()(harvest)


@app.callback()
def main() -> None:
    """Find thoracic diseases in chest X-rays and show where they are. Not for clinical use."""


@app.command()
def serve(
    model: ModelOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Serve POST /localize; every setting is an environment variable, CXR_..."""
    from pydantic import ValidationError

    from service.server import serve as run
    from service.settings import Settings

    given: dict[str, Any] = {"model": model, "host": host, "port": port}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        fail(f"CXR_{str(first['loc'][0]).upper()}: {first['msg']}.")
    run(settings)


@app.command()
def key(name: Annotated[str, typer.Argument(help="Who will hold it; it stands in logs.")]) -> None:
    """Make an API key: shown once, on standard error; its line of the file on standard output.

    `cxr-localizer key viewer >> keys` with CXR_API_KEYS_FILE=keys lets its holder in.
    """
    from service.keys import make_key

    with clear_errors():
        made, line = make_key(name)
    typer.echo(f"The key of {name}, which is not shown again: {made}", err=True)
    typer.echo(line)


@app.command()
def localize(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Radiographs: PNG, JPEG, JPEG 2000, TIFF, WebP or DICOM. For a report, folders "
            "and patterns, too."
        ),
    ],
    overlay: Annotated[
        Path | None, typer.Option(help="PNG to draw: heat map and boxes on the radiograph.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="HTML or PDF file for people, by its suffix, in place of the JSON."),
    ] = None,
    disease: Annotated[
        list[str] | None, typer.Option(help="Findings to give; may be repeated. All by default.")
    ] = None,
    heatmaps: Annotated[Heatmaps, typer.Option(help="Heat maps in the JSON.")] = Heatmaps.png,
    boxes: Annotated[Boxes, typer.Option(help="Boxes in the JSON.")] = Boxes.positive,
    steps: Annotated[
        bool, typer.Option("--steps", help="The heat map of each mining step in the JSON, too.")
    ] = False,
    gate: Annotated[
        Gate,
        typer.Option(
            help="Refuse what cannot be a frontal chest radiograph and warn of what is doubtful, "
            "warn of both, or look for neither."
        ),
    ] = Gate.refuse,
    model: ModelOption = None,
    provider: ProviderOption = Provider.auto,
) -> None:
    """Print one line of JSON per radiograph, as the service answers it, or write a report.

    A report calls radiographs by their paths, as they are given here. A file that cannot be
    localized is named on standard error, with the reason, and the exit status is 1; the others are
    localized all the same.
    """
    import orjson

    from localization import DISEASES, Radiograph, RadiographRefused, draw_overlay, to_answer

    if overlay is not None and len(files) > 1:
        fail("--overlay draws one radiograph: give one file.")
    if unknown := set(disease or ()) - set(DISEASES):
        fail(f"No such disease: {', '.join(sorted(unknown))}. There are: {', '.join(DISEASES)}.")
    if report is not None:
        if overlay is not None:
            fail("--report holds the pictures that --overlay draws: give one of them.")
        _write_report(report, files, model, provider, disease or None, gate)
    localizer = open_localizer(model, provider)
    refused = False
    for file in files:
        try:
            radiograph = Radiograph.read(file.read_bytes(), policy=gate.value)
            localization = localizer.localize(radiograph, gate.value)
        except (OSError, RadiographRefused) as error:
            why = f"{error.strerror}." if isinstance(error, OSError) else error
            typer.echo(f"{file}: {why}", err=True)
            refused = True
            continue
        answer = to_answer(
            localization,
            id=str(file),
            heatmaps=heatmaps.value,
            boxes=boxes.value,
            diseases=disease or None,
            steps=steps,
        )
        typer.echo(orjson.dumps(answer))
        if overlay is not None:
            overlay.write_bytes(draw_overlay(radiograph, localization, disease or None))
    raise typer.Exit(code=int(refused))


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a YAML file.")],
    output: Annotated[Path, typer.Option(help="Folder of checkpoints and logs.")],
    data: DataOption = DATA,
    cache: CacheOption = CACHE,
    resume: Annotated[
        bool, typer.Option(help="Go on from the output folder's last checkpoint.")
    ] = False,
    devices: Annotated[str, typer.Option(help="GPUs or processes per machine.")] = "auto",
    nodes: Annotated[int, typer.Option(help="Machines.")] = 1,
) -> None:
    """Train by a recipe on the image labels of ChestX-ray14."""
    with extra("train"):
        from training.dataset import ChestXray14
        from training.recipe import Recipe
        from training.train import train as run
    with clear_errors():
        best = run(
            Recipe.load(recipe),
            ChestXray14.read(data),
            output,
            cache,
            resume=resume,
            devices=devices if devices == "auto" else int(devices),
            nodes=nodes,
        )
    typer.echo(f"The best checkpoint is {best}.")


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Of a training run.")],
    folder: Annotated[Path, typer.Argument(help="Of the bundle; its name is the model's.")],
    version: Annotated[str, typer.Option(help="Of the model.")] = "0.1.0",
    data: DataOption = DATA,
    cache: CacheOption = CACHE,
) -> None:
    """Write a bundle: graph, calibration and manifest."""
    with extra("train"):
        from training.dataset import ChestXray14
        from training.export import export as run
    with clear_errors():
        bundle = run(checkpoint, ChestXray14.read(data), cache, folder, version)
    typer.echo(f"Wrote {bundle.folder}: {bundle.manifest.name} {bundle.manifest.version}.")


@app.command()
def quantize(
    folder: Annotated[Path, typer.Argument(help="Of the bundle.")],
    half: Annotated[bool, typer.Option(help="Add an fp16 graph, for a GPU, too.")] = False,
    data: DataOption = DATA,
    cache: CacheOption = CACHE,
) -> None:
    """Add an int8 graph to a bundle; it is served on a CPU where it is as good as fp32."""
    with extra("train"):
        from training.dataset import ChestXray14
        from training.quantization import quantize as run
    with clear_errors():
        bundle = run(folder, ChestXray14.read(data), cache, half=half)
    for precision in ("fp32", "int8"):
        typer.echo(f"{precision}: {bundle.manifest.quantization[precision]}")
    typer.echo(f"A CPU is served by {bundle.manifest.fastest}.")


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Of the bundle.")],
    data: DataOption = DATA,
    output: Annotated[Path | None, typer.Option(help="JSON file of all figures.")] = None,
    record: Annotated[
        bool, typer.Option(help="Write the main figures into the bundle's manifest.")
    ] = False,
    provider: ProviderOption = Provider.auto,
) -> None:
    """Score a bundle on the test part and the official boxes of ChestX-ray14."""
    import json

    with extra("train"):
        from training.dataset import ChestXray14
        from training.evaluation import evaluate as score
        from training.report import print_report, record_figures
    localizer = open_localizer(folder, provider)
    with clear_errors():
        figures = score(localizer, ChestXray14.read(data))
    print_report(figures)
    if output is not None:
        output.write_text(json.dumps(figures, indent=1) + "\n")
    if record:
        record_figures(localizer.bundle, figures)


@app.command()
def gate(
    folder: Annotated[Path, typer.Argument(help="Of the bundle.")],
    data: DataOption = DATA,
    provider: ProviderOption = Provider.auto,
) -> None:
    """Count what the gate makes of the test part's pixels: as they are, turned, inverted."""
    with extra("train"):
        from training.dataset import ChestXray14
        from training.gate_study import measure_gate, print_gate
    localizer = open_localizer(folder, provider)
    with clear_errors():
        print_gate(measure_gate(localizer, ChestXray14.read(data)))


@app.command()
def robustness(
    folder: Annotated[Path, typer.Argument(help="Of the bundle.")],
    radiographs: Annotated[int, typer.Option(help="How many of the validation part.")] = 300,
    data: DataOption = DATA,
    provider: ProviderOption = Provider.auto,
) -> None:
    """Measure whether findings hold under borders, burned-in text and crops made here."""
    with extra("train"):
        from training.dataset import ChestXray14
        from training.robustness import measure, print_robustness
    localizer = open_localizer(folder, provider)
    with clear_errors():
        print_robustness(measure(localizer, ChestXray14.read(data), radiographs))


@app.command()
def reference(
    folder: Annotated[Path, typer.Argument(help="Of the bundle.")],
    data: DataOption = DATA,
) -> None:
    """Measure where a bundle's probabilities lie on the validation part, and write it into the
    manifest: what drift is measured against. `export` and `quantize` do so, too."""
    with extra("train"):
        from training.dataset import ChestXray14
        from training.reference import record_reference
    bundle = open_localizer(folder, Provider.cpu).bundle
    with clear_errors():
        bundle = record_reference(bundle, ChestXray14.read(data))
    typer.echo(f"{bundle.manifest.reference.radiographs} radiographs: {folder}")


@app.command()
def ablate(
    output: Annotated[Path, typer.Option(help="Folder of the runs and of `study.json`.")],
    study: Annotated[
        Path | None, typer.Option(help="YAML file of the rows; the shipped study without it.")
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(help="STAGE=FILE: weights of a classification stage, not trained again."),
    ] = None,
    data: DataOption = DATA,
    cache: CacheOption = CACHE,
) -> None:
    """Train and score every row of the study, and print its tables.

    Started again, it goes on where it was interrupted.
    """
    with extra("train"):
        from training.dataset import ChestXray14
        from training.study import Study, run_study
        from training.study_report import describe
    with clear_errors():
        starts = {stage: Path(file) for stage, _, file in (s.partition("=") for s in start or ())}
        figures = run_study(Study.load(study), ChestXray14.read(data), output, cache, starts)
    typer.echo(describe(figures))


def _write_report(
    report: Path,
    given: list[Path],
    model: Path | None,
    provider: Provider,
    diseases: list[str] | None,
    gate: Gate,
) -> NoReturn:
    from rich.console import Console
    from rich.progress import track

    with extra("report"):
        from reporting import find_files, write_report
    files = [file for file in find_files(given) if file.resolve() != report.resolve()]
    localizer = open_localizer(model, provider)
    console = Console(stderr=True)
    progress = track(files, "Localizing", console=console, disable=not console.is_terminal)
    try:
        with clear_errors():
            refused = write_report(report, progress, localizer, diseases, gate.value)
    except OSError as error:
        fail(f"{report} cannot be written: {error.strerror}.")
    for file in refused:
        typer.echo(f"{file.name}: {file.reason}", err=True)
    typer.echo(f"Wrote {report}: {len(files) - len(refused)} localized, {len(refused)} refused.")
    raise typer.Exit(code=int(bool(refused)))
