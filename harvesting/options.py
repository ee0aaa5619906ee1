"""What is asked of a harvest, and what follows from it: mode, items, and the run's description."""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from harvesting.identifiers import fingerprint
from harvesting.items import Item
from harvesting.labels import Labels
from harvesting.plan import Plan
from harvesting.resuming import HarvestRefused
from harvesting.run import Mode, Model, Run
from harvesting.sources import Source
from localization import Compute, ModelBundle, Policy


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


def settled_mode(options: Options) -> Mode:
    """The mode that is asked for, or that follows from the labels.

    Raises:
        HarvestRefused: the labelled mode without labels.
    """
    if options.mode == "labelled" and options.labels is None:
        raise HarvestRefused("The labelled mode needs labels: give --labels.")
    return options.mode or ("open" if options.labels is None else "labelled")


def make_plan(
    options: Options, source: Source, labels: Labels | None, found: Callable[[int], None]
) -> tuple[Plan, Counter[str]]:
    """List a source and choose from it; ``found`` is told how many items are found, at each.

    Returns:
        The plan, and how many files were left out of each suffix.
    """
    left_out: Counter[str] = Counter()
    items = _chosen(_counted(source.items(left_out), found), options)
    return Plan.of(_labelled(items, labels), options.shard_size), left_out


def _counted(items: Iterable[Item], found: Callable[[int], None]) -> Iterator[Item]:
    for count, item in enumerate(items, start=1):
        found(count)
        yield item


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


def describe(
    options: Options,
    source: Source,
    labels: Labels | None,
    plan: Plan,
    left_out: Mapping[str, int] = MappingProxyType({}),
) -> Run:
    """The run that `run.json` holds as it begins."""
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
        source=_everywhere(source),
        mode=settled_mode(options),
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
        left_out=dict(sorted(left_out.items())),
        settings=settings,
    )


def _everywhere(source: Source) -> str:
    """A source's name that means the same in every working directory, and is always written the
    same: this machine's paths are absolute, without `..` where it leads out of no link."""
    if not isinstance(source.files, LocalFileSystem):
        return source.url
    plain = os.path.normpath(source.target)
    return plain if os.path.realpath(plain) == os.path.realpath(source.target) else source.target
