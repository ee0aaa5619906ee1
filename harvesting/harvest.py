"""A harvest from its begin to its end: planned, worked on by an engine, counted, exported."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from time import monotonic
from typing import Self

import fsspec
from fsspec.spec import AbstractFileSystem

from harvesting.attempts import clear
from harvesting.counting import add, count_shard
from harvesting.dataset import Dataset
from harvesting.exports import write_exports
from harvesting.items import join
from harvesting.label_table import LabelTable
from harvesting.labels import read_labels
from harvesting.local import Engine
from harvesting.options import Options, describe, make_plan, settled_mode
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
from harvesting.run import Counts, Run, write_run
from harvesting.shard import Done, Job
from harvesting.sitting import Sitting
from harvesting.sources import Source
from harvesting.storage import sweep
from localization import Compute, Localizer, ModelBundle
from localization.session import Provider


class ReportFailed(RuntimeError):
    """A data set is finished, and its report could not be written; the message says where."""


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
    labels: LabelTable | None
    files: AbstractFileSystem
    root: str
    """Of the data set, in `files`."""
    resumed: bool
    """Whether an earlier sitting began it."""
    complete: frozenset[int]
    """Shards that earlier sittings wrote."""
    listing: float
    """Seconds that labels and plan took."""

    @classmethod
    def open(cls, options: Options, found: Callable[[int], None] = lambda count: None) -> Self:
        """Plan a run, or take up the one that was begun there; nothing is written.

        Args:
            options: what is asked for.
            found: told how many files are found so far, at each, while they are listed.

        Raises:
            HarvestRefused: the run is finished or was begun with other options, or other files
                are there, or the options contradict each other.
            SourceRefused, LabelsRefused, TableRefused: see there.
            OSError: the labels, or the data set's folder, cannot be read.
        """
        opened = monotonic()
        files, root = fsspec.core.url_to_fs(options.out)
        settled_mode(options)  # before anything is read
        labels = read_labels(options.labels) if options.labels is not None else None
        source = Source.open(options.source)
        begun = begun_run(files, root)
        if begun is None:
            require_empty(files, root, options.out)
            plan, left_out = make_plan(options, source, labels, found)
            _require_work(options, plan)
            run = describe(options, source, labels, plan, left_out)
            complete = frozenset[int]()
        else:
            _require_unfinished(options, begun, files.exists(join(root, REPORT)))
            plan = Plan.read(files, root, options.shard_size)
            require_same(begun, describe(options, source, labels, plan))
            run, complete = begun, complete_shards(files, root)
        job = _job(options, source)
        table = LabelTable.of(labels) if labels is not None else None
        spent = monotonic() - opened
        return cls(job, run, plan, table, files, root, begun is not None, complete, spent)

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
        sitting = Sitting(self.files, self.root, self.run, self.listing)
        if self.run.finished:
            return self._report(sitting)
        if not self.resumed:
            self.plan.write(self.files, self.root)
            write_run(self.files, self.root, self.run)

        def heard(done: Done) -> None:
            sitting.hear(done)
            report(done)

        with sitting.stage("work_seconds"):
            engine(self.job, self._remaining(), heard)
        with sitting.stage("exports_seconds"):
            earlier = (count_shard(self.files, self.root, number) for number in self.complete)
            counts = _total(earlier, sitting.counts)
            write_exports(Dataset(self.files, self.root, sitting.run()))
            clear(self.files, self.root)
            sweep(self.files, self.root)
        sitting.finish(counts)
        return self._report(sitting)

    def _report(self, sitting: Sitting) -> Run:
        """Write the report of a finished run: whatever is wrong with it, the rows can be used."""
        dataset = Dataset(self.files, self.root, sitting.run())
        try:
            with sitting.stage("report_seconds"):
                read = SourceReader(self.job.source, self.plan)
                write_report(dataset, self.job.bundle.manifest, read)
        except Exception as error:
            raise ReportFailed(
                f"The data set is finished; its report could not be written ({say(error)}). The "
                "same command tries that again."
            ) from error
        return sitting.run()

    def _remaining(self) -> Iterator[Shard]:
        return (self.plan.shard(n) for n in range(self.plan.shards) if n not in self.complete)


def _job(options: Options, source: Source) -> Job:
    return Job(
        source,
        options.out,
        options.bundle,
        options.compute,
        settled_mode(options),
        options.policy,
        options.batch,
        options.key,
    )


def _require_work(options: Options, plan: Plan) -> None:
    if not len(plan):
        raise HarvestRefused(f"{options.source} holds no radiograph.")
    if settled_mode(options) == "labelled" and not plan.labelled:
        raise HarvestRefused(
            f"{options.labels} names none of the {len(plan)} files, so in the labelled mode "
            "nothing would be mined."
        )


def _require_unfinished(options: Options, begun: Run, reported: bool) -> None:
    if "reviewed" in begun.settings:
        raise HarvestRefused(
            f"{options.out} holds the export of a review, which no harvest writes to: name a new "
            "folder."
        )
    if begun.finished and reported:
        raise HarvestRefused(f"{options.out} is finished: it holds {begun.files} files' rows.")


def _total(counts: Iterable[Counts], total: Counts) -> Counts:
    for one in counts:
        total = add(total, one)
    return total
