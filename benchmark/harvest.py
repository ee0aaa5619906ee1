"""A harvest beside the bare in-process job: the same files, one process per core, in turns.

The bare job reads, decodes, infers and encodes each file's answer, in processes that have loaded
the model already, and writes nothing. The harvest's time is from the start of its processes to the
last file of the data set, exports and report included. Both have listed the files before.
"""

import argparse
import time
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, get_args

from benchmark.processes import Helper
from benchmark.report import machine, number, table
from benchmark.work import localize, open_localizer
from harvesting.harvest import Harvest, settle_compute
from harvesting.items import ItemUnreadable
from harvesting.local import local_engine
from harvesting.options import Options
from harvesting.reader import Reader
from harvesting.sources import Source
from localization import ModelBundle, Policy, RadiographRefused, shipped_bundle
from localization.cores import cores

PACKAGES = ("onnxruntime", "opencv-python-headless", "pydicom", "pyarrow")


def main() -> None:
    """Measure, and print a table."""
    options = _options()
    bare, harvested = [], []
    with ExitStack() as stack:
        job = (options.source, options.files, options.gate)
        helpers = [stack.enter_context(Helper(bare_job, *job)) for _ in range(cores())]
        for _ in range(options.rounds):
            bare.append(_bare(helpers))
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
    parser.add_argument(
        "--gate",
        choices=get_args(Policy),
        default="refuse",
        help="as of `cxr-localizer harvest`",
    )
    parser.add_argument("--files", type=int, default=2000, help="the first of the source")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def bare_job(url: str, count: int, gate: Policy) -> Any:
    """Spends a task, `(first, step)`, on every so many-th of a source's first files."""
    localizer, source = open_localizer(1), Source.open(url)
    reader, items = Reader(source), list(islice(source.items(), count))

    def work(task: tuple[int, int]) -> int:
        first, step = task
        for item in items[first::step]:
            with suppress(ItemUnreadable, RadiographRefused):
                localize(localizer, reader.read(item), gate)
        return len(items[first::step])

    return work


def _bare(helpers: list[Helper]) -> float:
    """Files per second."""
    begun = time.perf_counter()
    for first, helper in enumerate(helpers):
        helper.begin((first, len(helpers)))
    files = sum(helper.result() for helper in helpers)
    return files / (time.perf_counter() - begun)


def _harvest(options: argparse.Namespace) -> float:
    """Files per second."""
    with TemporaryDirectory() as folder:
        bundle, compute = settle_compute(ModelBundle.load(shipped_bundle()), "cpu")
        opened = Harvest.open(
            Options(
                options.source,
                str(Path(folder) / "harvested"),
                bundle,
                compute,
                options.labels,
                policy=options.gate,
                limit=options.files,
            )
        )
        begun = time.perf_counter()
        opened.work(local_engine(cores()), lambda done: None)
        return len(opened.plan) / (time.perf_counter() - begun)


def _several(values: list[float], digits: int) -> str:
    every = ", ".join(number(value, digits) for value in values)
    return f"{number(median(values), digits)} ({every})"


if __name__ == "__main__":
    main()
