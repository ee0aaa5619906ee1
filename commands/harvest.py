"""`cxr-localizer harvest`: an archive of radiographs in, a data set of mined localizations out."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.options import (
    Gate,
    ModelOption,
    Provider,
    ProviderOption,
    clear_errors,
    extra,
    fail,
    words,
)
from commands.progress import listing, working

if TYPE_CHECKING:
    from harvesting.harvest import Harvest
    from harvesting.local import Engine
    from harvesting.run import Run
    from localization import Compute, ModelBundle

    Settle = Callable[[ModelBundle, str], tuple[ModelBundle, Compute]]


class Mode(StrEnum):
    open = "open"
    labelled = "labelled"


class EngineName(StrEnum):
    local = "local"
    ray = "ray"


def harvest(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="Folder, pattern, CSV of paths, tar or zip archive of radiographs, or an fsspec "
            "URL of one."
        ),
    ],
    out: Annotated[str, typer.Option(help="Folder or URL of the data set.")],
    labels: Annotated[
        str | None, typer.Option(help="CSV of the image labels; see docs/harvesting.md.")
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="Mine what reaches its operating point (open), or the labelled diseases alone, "
            "which is the default where labels are given."
        ),
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="What works on it: this machine, or Ray.")
    ] = EngineName.local,
    address: Annotated[
        str | None,
        typer.Option(
            help="Of Ray: auto, the cluster of this machine, or host:port; without it, one is "
            "started here for the run."
        ),
    ] = None,
    model: ModelOption = None,
    provider: ProviderOption = Provider.auto,
    gate: Annotated[
        Gate,
        typer.Option(help="Towards what is no frontal chest radiograph: as `localize` has it."),
    ] = Gate.refuse,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes on a CPU, threads on a GPU; one for each core. Of Ray: processes that "
            "hold the model, at most; as many as it finds work for.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Radiographs per run of the graph; 1 on a CPU, 32 on a GPU."),
    ] = None,
    shard_size: Annotated[
        int, typer.Option(min=1, help="Files that are worked on and written together.")
    ] = 256,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first files.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Only so many, drawn at random.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the sample; 0.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")
    ] = False,
    join_key_file: Annotated[
        Path | None,
        typer.Option(
            help="File of a secret key by which DICOM identifiers are hashed, to join data sets "
            "by; without it they are left out."
        ),
    ] = None,
) -> None:
    """Mine an archive of radiographs into a data set of boxes and heat maps.

    A run that was cut goes on by the same command. A file that cannot be localized is a row with
    its reason; the exit status is 0 all the same.
    """
    from localization import BundleRefused, ModelBundle, ProviderUnavailable, shipped_bundle

    with extra("harvest"):
        from harvesting.harvest import Harvest, ReportFailed
        from harvesting.identifiers import read_key
        from harvesting.local import EngineFailed
        from harvesting.options import Options
        from harvesting.processes import WorkFailed
        from harvesting.remote import named_errors

    if address is not None and engine is not EngineName.ray:
        fail("--address is of --engine ray.")
    if seed is not None and sample is None:
        fail("--seed is of --sample.")
    try:
        settle, work = context.with_resource(_opened(engine, address, workers))
        bundle, compute = settle(ModelBundle.load(model or shipped_bundle()), provider.value)
    except (BundleRefused, EngineFailed, ProviderUnavailable) as error:
        fail(str(error))
    with clear_errors(), named_errors(out):
        options = Options(
            source=source,
            out=out,
            bundle=bundle,
            compute=compute,
            labels=labels,
            mode=mode.value if mode is not None else None,
            policy=gate.value,
            batch=batch_size or (1 if compute.provider == "cpu" else 32),
            shard_size=shard_size,
            limit=limit,
            sample=sample,
            seed=seed or 0,
            key=read_key(join_key_file) if join_key_file is not None else None,
            command=("cxr-localizer", *sys.argv[1:]),
        )
        with listing() as found:
            begun = Harvest.open(options, found)
    _describe(begun)
    if dry_run:
        return
    try:
        with _stopped_by_sigterm(), named_errors(out):
            with working(len(begun.plan), begun.remaining_files) as report:
                run = begun.work(work, report)
            _summarize(run, out)
    except (EngineFailed, ReportFailed, WorkFailed, OSError) as error:
        typer.echo(f"cxr-localizer: {words(error)}", err=True)
        raise typer.Exit(code=1) from error
    except KeyboardInterrupt:
        typer.echo("Stopped; the same command goes on from here.", err=True)
        raise typer.Exit(code=130) from None


@contextmanager
def _opened(
    engine: EngineName, address: str | None, workers: int | None
) -> "Iterator[tuple[Settle, Engine]]":
    """What finds out where the model runs, and what works on shards."""
    if engine is EngineName.local:
        from harvesting.harvest import settle_compute
        from harvesting.local import local_engine
        from localization.cores import cores

        yield settle_compute, local_engine(workers or cores())
        return
    with extra("ray"):
        from harvesting.ray_engine import LOCAL, connected, ray_engine, settle_on_ray
    with connected(address or LOCAL):
        yield settle_on_ray, ray_engine(workers)


def _describe(begun: "Harvest") -> None:
    """What will be done."""
    run, plan = begun.run, begun.plan
    typer.echo(
        f"{run.source}: {len(plan)} files in {plan.shards} shards, {run.mode} mode, by "
        f"{run.model.name} {run.model.version} ({run.model.precision}, {run.settings['provider']})."
    )
    if run.left_out:
        most_first = sorted(run.left_out.items(), key=lambda pair: (-pair[1], pair[0]))
        typer.echo(
            f"{sum(run.left_out.values())} files left out by their suffix: "
            f"{', '.join(f'{suffix} {count}' for suffix, count in most_first)}."
        )
    if begun.labels is not None:
        typer.echo(
            f"Labels: {len(begun.labels)} lines; {plan.labelled} files have one, "
            f"{len(plan) - plan.labelled} have none and get no label"
            + (", so nothing is mined in them." if run.mode == "labelled" else ".")
        )
        if begun.labels.unused:
            typer.echo(f"Columns that name no disease: {', '.join(begun.labels.unused)}.")
    if begun.resumed:
        typer.echo(
            f"Resumed: {len(begun.complete)} shards are written, {begun.remaining_files} files "
            "remain."
        )


def _summarize(run: "Run", out: str) -> None:
    counts = run.counts
    assert counts is not None
    typer.echo(
        f"{out}: {counts.localized} of {counts.radiographs} files localized, "
        f"{counts.findings} findings, {counts.boxes} boxes, {counts.disagreements} disagreements."
    )
    for reason, count in sorted(counts.failed.items(), key=lambda pair: -pair[1]):
        typer.echo(f"  failed, {reason}: {count}")
    typer.echo(
        f"{run.timings['seconds']:.1f} s, {run.timings['radiographs_per_second']:.1f} files/s."
    )


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
