"""The timings of a run: what they cover, and what a run that was cut keeps of them."""

import gc
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harvest_helpers import fill, options

from harvesting import harvest as harvest_module
from harvesting.harvest import Harvest, ReportFailed
from harvesting.labels import Labels, read_labels
from harvesting.local import local_engine
from harvesting.run import Run, read_run
from harvesting.sources import Source

SLEEP = 0.4
STAGES = ("listing_seconds", "work_seconds", "exports_seconds", "report_seconds")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return fill(tmp_path / "archive", 3)


def slowed(work: Callable[..., Any]) -> Callable[..., Any]:
    def slow(*arguments: Any) -> Any:
        time.sleep(SLEEP)
        return work(*arguments)

    return slow


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def kept(begun: Harvest) -> Run:
    """What `run.json` says."""
    return read_run(begun.files, begun.root)


def test_timings_are_of_the_listing_the_work_the_exports_and_the_report(
    archive: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Source, "items", slowed(Source.items))
    for name in ("write_exports", "write_report"):
        original = getattr(__import__("harvesting.harvest", fromlist=[name]), name)
        monkeypatch.setattr(f"harvesting.harvest.{name}", slowed(original))
    begun = Harvest.open(options(archive, tmp_path / "out", tiny_bundle))
    timings = begun.work(slowed(local_engine(1)), lambda done: None).timings
    assert all(SLEEP <= timings[stage] < SLEEP + 20 for stage in STAGES)
    assert timings["seconds"] == pytest.approx(sum(timings[s] for s in STAGES), abs=0.005)
    assert timings["radiographs_per_second"] == pytest.approx(3 / timings["seconds"], rel=0.01)
    assert kept(begun).timings == timings


def test_a_run_that_is_cut_in_each_stage_forgets_none_of_them(
    archive: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = options(archive, tmp_path / "out", tiny_bundle)
    with pytest.raises(KeyboardInterrupt):
        Harvest.open(asked).work(slowed(interrupted), lambda done: None)
    with monkeypatch.context() as cut:
        cut.setattr("harvesting.harvest.write_exports", slowed(interrupted))
        with pytest.raises(KeyboardInterrupt):
            Harvest.open(asked).work(local_engine(1), lambda done: None)
    cut_short = kept(Harvest.open(asked)).timings
    assert min(cut_short["work_seconds"], cut_short["exports_seconds"]) >= SLEEP
    assert "report_seconds" not in cut_short
    with monkeypatch.context() as faulty:
        faulty.setattr("harvesting.harvest.write_report", slowed(lambda *_: 1 / 0))
        with pytest.raises(ReportFailed):
            Harvest.open(asked).work(local_engine(1), lambda done: None)
    failed = kept(begun := Harvest.open(asked)).timings
    timings = begun.work(local_engine(1), lambda done: None).timings
    assert all(timings[stage] >= cut_short.get(stage, 0.0) for stage in STAGES)
    assert timings["report_seconds"] > failed["report_seconds"] >= SLEEP
    assert timings["prepare_seconds"] == failed["prepare_seconds"] > 0
    assert timings["seconds"] == pytest.approx(sum(timings[s] for s in STAGES), abs=0.01)


def test_the_table_of_labels_is_let_go_once_there_is_a_plan(
    archive: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("path,Mass,Fracture\n00000.png,1,0\n00001.png,0,1\nelsewhere.png,1,1\n")
    tables: list[weakref.ref[Labels]] = []

    def read(url: str) -> Labels:
        table = read_labels(url)
        tables.append(weakref.ref(table))
        return table

    monkeypatch.setattr(harvest_module, "read_labels", read)
    begun = Harvest.open(options(archive, tmp_path / "out", tiny_bundle, labels=str(labels)))
    assert begun.labels is not None
    assert (len(begun.labels), begun.labels.unused, begun.plan.labelled) == (3, ("Fracture",), 2)
    gc.collect()
    assert [table() for table in tables] == [None]


def test_the_files_that_are_found_are_counted_while_they_are_listed(
    archive: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    counts: list[int] = []
    asked = options(archive, tmp_path / "out", tiny_bundle, sample=2)
    assert len(Harvest.open(asked, counts.append).plan) == 2
    assert counts == [1, 2, 3]
