"""The ends of a harvest, which its leading process works on alone, on made rows.

Listing is of a folder of empty files with a table of labels that names each; exports and report are
of as many rows as ChestX-ray14's radiographs give in the labelled mode: for each file 0.75 findings
with 1.6 boxes, and 4 disagreements.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from benchmark.report import machine, number, table
from harvesting.dataset import Dataset
from harvesting.exports import write_exports
from harvesting.harvest import Harvest
from harvesting.options import Options
from harvesting.report import write_report
from harvesting.rows import DisagreementRow, FindingRow, RadiographRow, Rows, encode_heatmap
from harvesting.run import Run
from harvesting.storage import write_shard
from harvesting.tables import TABLES, part
from localization import DISEASES, Box, Compute, Field, Finding, ModelBundle, shipped_bundle

PACKAGES = ("pyarrow",)
SHARD = 256
FINDINGS, BOXES, DISAGREEMENTS = 192, (1, 1, 2, 2, 2), 4
"""Findings of a shard, boxes of five findings in turns, disagreements of each file."""
MILLION = 1_000_000


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="benchmark.harvest_ends", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    shards = max(1, parser.parse_args().files // SHARD)
    bundle = ModelBundle.load(shipped_bundle())
    with TemporaryDirectory() as folder:
        listed, run = _listing(bundle, Path(folder), shards)
        exported, reported = _end(bundle, Path(folder) / "harvested", run)
    print(f"{machine(PACKAGES)} Of {shards * SHARD} files, reckoned for a million.\n")
    rows = (("listing", listed), ("exports", exported), ("report", reported))
    scale = MILLION / (shards * SHARD)
    print(table(("", "seconds"), [[name, number(scale * spent, 0)] for name, spent in rows]))


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _listing(bundle: ModelBundle, folder: Path, shards: int) -> tuple[float, Run]:
    """Seconds of a harvest's listing, and the run that it begins."""
    source, labels = folder / "source", folder / "labels.csv"
    for shard in range(shards):
        (source / f"{shard:06d}").mkdir(parents=True)
        for file in range(SHARD):
            (source / f"{shard:06d}" / f"{shard:06d}_{file:03d}.png").touch()
    lines = (f"{file.name},Mass|Nodule\n" for file in source.rglob("*.png"))
    labels.write_text("".join(("Image Index,Finding Labels\n", *lines)))
    asked = Options(
        str(source),
        str(folder / "harvested"),
        bundle,
        Compute("cpu", next(iter(bundle.manifest.graphs)), threads=1),
        str(labels),
        shard_size=SHARD,
    )
    opened = Harvest.open(asked)
    return opened.listing, opened.run


def _end(bundle: ModelBundle, folder: Path, run: Run) -> tuple[float, float]:
    """Seconds of a data set's exports, and of its report."""
    files = LocalFileSystem()
    write_shard(files, str(folder), 0, _rows())
    for shard in range(1, run.shards):
        for name in TABLES:
            (folder / part(name, shard)).parent.mkdir()
            shutil.copy(folder / part(name, 0), folder / part(name, shard))
    dataset = Dataset(files, str(folder), run)
    picture = cv2.imencode(".png", np.full((1024, 1024), 99, np.uint8))[1].tobytes()
    return (
        _seconds(lambda: write_exports(dataset)),
        _seconds(lambda: write_report(dataset, bundle.manifest, lambda path: picture)),
    )


def _rows() -> Rows:
    """Of one shard."""
    random = np.random.default_rng(0)
    paths = [f"000000/000000_{file:03d}.png" for file in range(SHARD)]
    heat = cv2.resize(random.random((6, 6), np.float32), (24, 24))
    box = Box(101.25, 203.5, 310.75, 220.125, 0.5)
    return Rows(
        tuple(_radiograph(path, random) for path in paths),
        tuple(
            FindingRow(
                paths[k],
                (disease := DISEASES[k % len(DISEASES)]),
                (probability := float(random.random())),
                0.25,
                True,
                (box,) * BOXES[k % len(BOXES)],
                encode_heatmap(Finding(disease, probability, 0.25, heat, (), heat[None])),
            )
            for k in range(FINDINGS)
        ),
        tuple(
            DisagreementRow(path, DISEASES[k], float(random.random()), 0.25, "model-only")
            for path in paths
            for k in range(DISAGREEMENTS)
        ),
    )


def _radiograph(path: str, random: np.random.Generator) -> RadiographRow:
    return RadiographRow(
        path,
        "localized",
        format="PNG",
        width=1024,
        height=1024,
        field=Field(0, 0, 1024, 1024),
        image_left="unknown",
        typicality=1.0,
        labels=("Mass", "Nodule"),
        probabilities=tuple(random.random(len(DISEASES)).tolist()),
    )


if __name__ == "__main__":
    main()
