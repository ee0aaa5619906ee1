"""A harvest from its begin to its end: planned, worked on by an engine, counted, exported."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self

import fsspec
from fsspec.spec import AbstractFileSystem

from harvesting.attempts import clear
from harvesting.counting import add, count_shard
from harvesting.dataset import Dataset
from harvesting.exports import write_exports
from harvesting.identifiers import fingerprint
from harvesting.items import Item, join
from harvesting.labels import Labels, read_labels
from harvesting.local import Engine
from harvesting.plan import Plan, Shard
from harvesting.processes import say
from harvesting.reopening import SourceReader
from harvesting.report import REPORT, write_report
from harvesting.resuming import (
    HarvestRefused,
    begun_run,
    complete_shards,
    require_empty,
    require_same,
)
from harvesting.run import Counts, Mode, Model, Run, write_run
from harvesting.shard import Done, Job
from harvesting.sitting import Sitting
from harvesting.sources import Source
from harvesting.storage import sweep
from localization import Compute, Localizer, ModelBundle, Policy
from localization.session import Provider


class ReportFailed(RuntimeError):
    """A data set is finished, and its report could not be written; the message says where."""


@dataclass(frozen=True)
class Options:
    """What is asked for."""

    source: str
    out: str
    bundle: ModelBundle
    compute: Compute
    """As `settle_compute` gives it."""
    labels: str | None = None
    mode: Mode | None = None
    """None: labelled where there are labels."""
    policy: Policy = "refuse"
    batch: int = 1
    shard_size: int = 256
    limit: int | None = None
    """Only the first items."""
    sample: int | None = None
    """Only so many, drawn from all of them, or from the first `limit`."""
    seed: int = 0
    key: bytes | None = None
    """See `harvesting.identifiers`."""
    command: tuple[str, ...] = ()


def settle_compute(bundle: ModelBundle, provider: str) -> tuple[ModelBundle, Compute]:
    """Find out where a bundle runs; the bundle with the graph that runs there, alone.

    Raises:
        ProviderUnavailable: a GPU was asked for and cannot be used.
        BundleRefused: the graph cannot be opened, or is not that of the manifest.
    """
    localizer = Localizer(bundle, Compute(provider, threads=1))  # type: ignore[arg-type]
    settled: Provider = localizer.provider
    precision = localizer.precision
    graph = {precision: bundle.contents[precision]}
    return replace(bundle, contents=graph), Compute(settled, precision, threads=1)


@dataclass(frozen=True)
class Harvest:
    """A run that was begun, now or earlier."""

    job: Job
    run: Run
    plan: Plan
    labels: Labels | None
    files: AbstractFileSystem
    root: str
    """Of the data set, in `files`."""
    resumed: bool
    """Whether an earlier sitting began it."""
    complete: frozenset[int]
    """Shards that earlier sittings wrote."""

    @classmethod
    def open(cls, options: Options) -> Self:
        """Plan a run, or take up the one that was begun there; nothing is written.

        Raises:
            HarvestRefused: the run is finished or was begun with other options, or other files
                are there, or the options contradict each other.
            SourceRefused, LabelsRefused, TableRefused: see there.
            OSError: the labels, or the data set's folder, cannot be read.
        """
        files, root = fsspec.core.url_to_fs(options.out)
        labels = read_labels(options.labels) if options.labels is not None else None
        mode = _mode(options, labels)
        source = Source.open(options.source)
        job = Job(
            source,
            options.out,
            options.bundle,
            options.compute,
            mode,
            options.policy,
            options.batch,
            options.key,
        )
        begun = begun_run(files, root)
        if begun is None:
            require_empty(files, root, options.out)
            left_out: Counter[str] = Counter()
            items = _chosen(source.items(left_out), options)
            plan = Plan.of(_labelled(items, labels), options.shard_size)
            if not len(plan):
                raise HarvestRefused(f"{options.source} holds no radiograph.")
            if mode == "labelled" and not plan.labelled:
                raise HarvestRefused(
                    f"{options.labels} names none of the {len(plan)} files, so in the labelled "
                    "mode nothing would be mined."
                )
            run = _describe(options, mode, labels, plan)
            run = run.model_copy(update={"left_out": dict(sorted(left_out.items()))})
            return cls(job, run, plan, labels, files, root, False, frozenset())
        if begun.finished and files.exists(join(root, REPORT)):
            raise HarvestRefused(f"{options.out} is finished: it holds {begun.files} files' rows.")
        plan = Plan.read(files, root, options.shard_size)
        require_same(begun, _describe(options, mode, labels, plan))
        return cls(job, begun, plan, labels, files, root, True, complete_shards(files, root))

    @property
    def remaining_files(self) -> int:
        """Items of the shards that are not written yet."""
        size, last = self.plan.shard_size, self.plan.shards - 1
        done = sum(
            len(self.plan) - last * size if number == last else size for number in self.complete
        )
        return len(self.plan) - done

    def work(self, engine: Engine, report: Callable[[Done], None]) -> Run:
        """Work on what remains, then count, export and call it finished; gives what it became.

        A run that is cut at any moment goes on by the same steps.

        Raises:
            ReportFailed: all is done but the report, which comes last.
        """
        if self.run.finished:
            self._report(self.run)
            return self.run
        if not self.resumed:
            self.plan.write(self.files, self.root)
            write_run(self.files, self.root, self.run)
        sitting = Sitting(self.files, self.root, self.run)

        def heard(done: Done) -> None:
            sitting.hear(done)
            report(done)

        try:
            engine(self.job, self._remaining(), heard)
        finally:
            sitting.save()
        earlier = (count_shard(self.files, self.root, number) for number in self.complete)
        counts = _total(earlier, sitting.counts)
        finished = self.run.model_copy(
            update={"counts": counts, "timings": sitting.timings(counts), "finished": True}
        )
        write_exports(Dataset(self.files, self.root, finished))
        clear(self.files, self.root)
        sweep(self.files, self.root)
        write_run(self.files, self.root, finished)
        self._report(finished)
        return finished

    def _report(self, run: Run) -> None:
        """Write the report of a finished run: whatever is wrong with it, the rows can be used."""
        read = SourceReader(self.job.source, self.plan)
        try:
            write_report(Dataset(self.files, self.root, run), self.job.bundle.manifest, read)
        except Exception as error:
            raise ReportFailed(
                f"The data set is finished; its report could not be written ({say(error)}). The "
                "same command tries that again."
            ) from error

    def _remaining(self) -> Iterator[Shard]:
        return (self.plan.shard(n) for n in range(self.plan.shards) if n not in self.complete)


def _mode(options: Options, labels: Labels | None) -> Mode:
    if options.mode == "labelled" and labels is None:
        raise HarvestRefused("The labelled mode needs labels: give --labels.")
    return options.mode or ("open" if labels is None else "labelled")


def _chosen(items: Iterator[Item], options: Options) -> Iterable[Item]:
    first = items if options.limit is None else islice(items, options.limit)
    if options.sample is None:
        return first
    every = list(first)
    count = min(options.sample, len(every))
    drawn = random.Random(options.seed).sample(range(len(every)), count)
    return [every[k] for k in sorted(drawn)]


def _labelled(items: Iterable[Item], labels: Labels | None) -> Iterable[Item]:
    if labels is None:
        return items
    return map(labels.label, items)


def _describe(options: Options, mode: Mode, labels: Labels | None, plan: Plan) -> Run:
    manifest, precision = options.bundle.manifest, options.compute.precision
    assert precision != "auto"
    settings: dict[str, Any] = {
        "labels": labels.sha256 if labels is not None else None,
        "gate": options.policy,
        "provider": options.compute.provider,
        "batch_size": options.batch,
        "shard_size": options.shard_size,
        "limit": options.limit,
        "sample": options.sample,
        "seed": options.seed if options.sample is not None else None,
        "join_key": fingerprint(options.key) if options.key is not None else None,
    }
    return Run(
        source=options.source,
        mode=mode,
        model=Model(
            name=manifest.name,
            version=manifest.version,
            precision=precision,
            sha256=manifest.files[manifest.graphs[precision]],
            operating_points=manifest.operating_points,
        ),
        command=list(options.command),
        shards=plan.shards,
        files=len(plan),
        settings=settings,
    )


def _total(counts: Iterable[Counts], total: Counts) -> Counts:
    for one in counts:
        total = add(total, one)
    return total
