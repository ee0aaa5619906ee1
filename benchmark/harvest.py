"""A harvest beside the bare in-process job: the same files, one process per core, in turns.

The bare job reads, decodes, infers and encodes each file's answer, in processes that have loaded
the model already, and writes nothing. The harvest's time is all of it: from the start of its
processes to the last file of the data set.
"""

import argparse
import time
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmark.processes import Helper, cores
from benchmark.report import machine, number, table
from benchmark.work import localize, open_localizer
from harvesting.harvest import Harvest, Options, settle_compute
from harvesting.local import local_engine
from harvesting.reader import Reader
from harvesting.sources import Source
from localization import ModelBundle, RadiographRefused, shipped_bundle

PACKAGES = ("onnxruntime", "opencv-python-headless", "pydicom", "pyarrow")


def main() -> None:
    """Measure, and print a table."""
    options = _options()
    bare, harvested = [], []
    with ExitStack() as stack:
        helpers = [stack.enter_context(Helper(bare_job, options.source)) for _ in range(cores())]
        for _ in range(options.rounds):
            bare.append(_bare(helpers, options.files))
            harvested.append(_harvest(options))
    ratios = [one / other for one, other in zip(harvested, bare, strict=True)]
    print(f"{machine(PACKAGES)} Medians of {options.rounds} rounds; in brackets, all of them.\n")
    rows = [("bare job", bare, 1), ("harvest", harvested, 1), ("ratio", ratios, 2)]
    print(
        table(("", "files/s"), [[name, _several(values, digits)] for name, values, digits in rows])
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmark.harvest", description=__doc__)
    parser.add_argument("source", help="as of `cxr-localizer harvest`")
    parser.add_argument("--labels", help="as of `cxr-localizer harvest`")
    parser.add_argument("--files", type=int, default=2000, help="the first of the source")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def bare_job(url: str) -> Any:
    """Spends a task, `(first, step, count)`, on every so many-th of a source's first files."""
    localizer, source = open_localizer(1), Source.open(url)
    reader = Reader(source)

    def work(task: tuple[int, int, int]) -> int:
        first, step, count = task
        done = 0
        for item in list(islice(source.items(), count))[first::step]:
            try:
                localize(localizer, reader.read(item))
                done += 1
            except RadiographRefused:
                pass
        return done

    return work


def _bare(helpers: list[Helper], count: int) -> float:
    """Files per second."""
    begun = time.perf_counter()
    for first, helper in enumerate(helpers):
        helper.begin((first, len(helpers), count))
    localized = sum(helper.result() for helper in helpers)
    return localized / (time.perf_counter() - begun)


def _harvest(options: argparse.Namespace) -> float:
    """Files per second."""
    with TemporaryDirectory() as folder:
        bundle, compute = settle_compute(ModelBundle.load(shipped_bundle()), "cpu")
        begun = Harvest.open(
            Options(
                options.source,
                str(Path(folder) / "harvested"),
                bundle,
                compute,
                options.labels,
                limit=options.files,
            )
        )
        run = begun.work(local_engine(cores()), lambda done: None)
        assert run.counts is not None
        return run.counts.localized / run.timings["seconds"]


def _several(values: list[float], digits: int) -> str:
    every = ", ".join(number(value, digits) for value in values)
    return f"{number(median(values), digits)} ({every})"


if __name__ == "__main__":
    main()
