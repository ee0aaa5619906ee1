"""The reviewed data set: what most reviewers want, in the harvest's own form."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from review_helpers import EFFUSION, MASS, MINED, NODULE, SECOND_MASS, SHARDS

from harvesting.dataset import Dataset, DatasetRefused
from harvesting.rows import FindingRow, decode_heatmap
from harvesting.run import RUN
from localization import DISEASES
from reviewing.decisions import Edges, ReviewRefused
from reviewing.export import export_reviewed
from reviewing.index import build_index
from reviewing.log import Log

Judge = Callable[..., int]
Export = Callable[..., Dataset]
COMMAND = ["cxr-localizer", "review-export"]


@pytest.fixture
def export(dataset: Dataset, log: Log, tmp_path: Path) -> Export:
    def export_and_open(unjudged: Literal["drop", "keep"] = "drop") -> Dataset:
        folder = tmp_path / "reviewed"
        export_reviewed(dataset, log, str(folder), unjudged, COMMAND)
        return Dataset.open(str(folder))

    return export_and_open


def findings(dataset: Dataset) -> list[FindingRow]:
    return [row for shard in dataset.shards() for row in dataset.findings(shard)]


def boxes(dataset: Dataset) -> dict[tuple[str, str], list[Edges]]:
    return {
        (row.path, row.disease): [Edges(b.x, b.y, b.width, b.height) for b in row.boxes]
        for row in findings(dataset)
    }


def test_an_unjudged_harvest_comes_back_as_it_was(export: Export, dataset: Dataset) -> None:
    reviewed = export("keep")
    for shard in dataset.shards():
        assert reviewed.radiographs(shard) == dataset.radiographs(shard)
        assert reviewed.findings(shard) == dataset.findings(shard)
        assert reviewed.disagreements(shard) == dataset.disagreements(shard)
    assert reviewed.run.counts == dataset.run.counts
    names = [f"{table}/shard=00001/part.parquet" for table in ("findings", "radiographs")]
    for name in names:  # the same bytes, so the same schema, too
        assert (Path(reviewed.root) / name).read_bytes() == (Path(dataset.root) / name).read_bytes()


def test_what_was_mined_stays_as_it_was(export: Export, judge: Judge, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    judge("ann", MASS, "reject")
    export()
    assert {path: path.read_bytes() for path in folder.rglob("*.parquet")} == before


def test_accepted_moved_and_relabelled_boxes_stay(export: Export, judge: Judge) -> None:
    moved = Edges(12, 12, 30, 30)
    judge("ann", MASS, "move", moved)
    judge("ann", SECOND_MASS, "relabel", MINED[SECOND_MASS], "Effusion")
    judge("ann", EFFUSION, "accept")
    judge("ann", NODULE, "reject")
    reviewed = export()
    assert boxes(reviewed) == {
        ("a.png", "Effusion"): [MINED[EFFUSION], MINED[SECOND_MASS]],  # best score first
        ("a.png", "Mass"): [moved],
    }
    assert [row.path for shard in (0, 1) for row in reviewed.radiographs(shard)] == [
        "a.png",
        "b.png",  # looked at, with nothing left; the failure nobody could look at
    ]
    counts = reviewed.run.counts
    assert counts is not None
    assert (counts.radiographs, counts.localized, counts.findings, counts.boxes) == (2, 2, 2, 3)
    assert reviewed.run.settings["reviewed"]["boxes"] == {
        "kept": 3,
        "relabelled": 1,
        "rejected": 1,
        "tied": 0,
        "unjudged": 0,
    }


def test_boxes_and_radiographs_that_nobody_judged_stay_out(export: Export, judge: Judge) -> None:
    judge("ann", MASS, "accept")
    reviewed = export()
    assert boxes(reviewed) == {("a.png", "Mass"): [MINED[MASS]]}
    assert [row.path for shard in (0, 1) for row in reviewed.radiographs(shard)] == ["a.png"]
    assert reviewed.disagreements(1) == []
    assert reviewed.run.settings["reviewed"]["boxes"]["unjudged"] == 3


def test_or_stay_in_where_that_is_asked(export: Export, judge: Judge) -> None:
    judge("ann", MASS, "reject")
    assert boxes(export("keep")) == {
        ("a.png", "Effusion"): [MINED[EFFUSION]],
        ("a.png", "Mass"): [MINED[SECOND_MASS]],
        ("b.png", "Nodule"): [MINED[NODULE]],
    }


def test_a_disease_that_was_not_mined_there_gets_a_finding_without_heat(
    export: Export, judge: Judge
) -> None:
    judge("ann", MASS, "relabel", MINED[MASS], "Hernia")
    [row] = findings(export())
    assert (row.disease, row.labelled, row.threshold) == ("Hernia", False, 0.25)
    assert row.probability == DISEASES.index("Hernia") / 16
    assert decode_heatmap(row.heatmap).shape == (4, 5)
    assert decode_heatmap(row.heatmap).max() == 0


def test_a_new_finding_is_not_labelled_where_the_labels_leave_it_open(
    export: Export, judge: Judge
) -> None:
    judge("ann", MASS, "relabel", MINED[MASS], "Edema")
    [row] = findings(export())
    assert (row.disease, row.labelled) == ("Edema", None)


def test_more_than_half_of_the_reviewers_decide(export: Export, judge: Judge) -> None:
    for name in ("ann", "ben"):
        judge(name, MASS, "accept")
        judge(name, SECOND_MASS, "reject")
    judge("cat", MASS, "reject")
    judge("cat", SECOND_MASS, "accept")
    assert boxes(export()) == {("a.png", "Mass"): [MINED[MASS]]}


@pytest.mark.parametrize("unjudged", ["drop", "keep"])
def test_ties_keep_a_box_out_and_are_counted(
    export: Export, judge: Judge, unjudged: Literal["drop", "keep"]
) -> None:
    judge("ann", NODULE, "accept")
    judge("ben", NODULE, "reject")
    judge("ann", MASS, "accept")
    judge("ben", MASS, "relabel", MINED[MASS], "Hernia")
    reviewed = export(unjudged)
    kept = boxes(reviewed)
    assert ("b.png", "Nodule") not in kept
    assert MINED[MASS] not in kept.get(("a.png", "Mass"), [])
    assert reviewed.run.settings["reviewed"]["boxes"]["tied"] == 2


def test_edges_are_the_medians_of_those_who_want_the_disease(export: Export, judge: Judge) -> None:
    judge("ann", MASS, "move", Edges(10, 10, 20, 20))
    judge("ben", MASS, "move", Edges(14, 10, 20, 30))
    judge("cat", MASS, "move", Edges(12, 50, 20, 20))
    judge("dan", MASS, "relabel", Edges(0, 0, 1, 1), "Nodule")
    # Left 10, 12, 14; top 10, 10, 50; right 30, 32, 34; bottom 30, 40, 70.
    assert boxes(export()) == {("a.png", "Mass"): [Edges(12, 10, 20, 30)]}


def test_the_last_decision_of_each_counts(export: Export, judge: Judge) -> None:
    judge("ann", MASS, "reject")
    judge("ann", MASS, "accept")
    judge("ann", NODULE, "accept")
    judge("ann", NODULE, "undo")
    reviewed = export()
    assert boxes(reviewed) == {("a.png", "Mass"): [MINED[MASS]]}


def test_the_run_says_how_it_was_reviewed(export: Export, judge: Judge, dataset: Dataset) -> None:
    judge("ben", MASS, "accept")
    judge("ann", NODULE, "accept")
    run = export().run
    assert (run.model, run.mode, run.source) == (
        dataset.run.model,
        dataset.run.mode,
        dataset.run.source,
    )
    assert run.command == COMMAND
    reviewed = run.settings["reviewed"]
    assert reviewed["reviewers"] == ["ann", "ben"]
    assert (reviewed["rule"], reviewed["unjudged"]) == ("majority", "drop")
    assert reviewed["last_decision"] == 2


def test_a_data_set_is_never_written_over(dataset: Dataset, log: Log, folder: Path) -> None:
    with pytest.raises(ReviewRefused, match="holds a data set"):
        export_reviewed(dataset, log, str(folder), "drop", COMMAND)


def test_an_export_that_was_cut_is_written_anew_and_no_others(
    dataset: Dataset,
    log: Log,
    judge: Judge,
    export: Export,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    judge("ann", MASS, "accept")
    with monkeypatch.context() as cut_short:
        cut_short.setattr("reviewing.export.write_exports", cut)
        with pytest.raises(KeyboardInterrupt):
            export()
    with pytest.raises(DatasetRefused, match="not finished"):
        Dataset.open(str(tmp_path / "reviewed"))
    (tmp_path / "reviewed/findings/.part.parquet.1.unfinished").write_bytes(b"cut")
    other = replace(dataset, run=dataset.run.model_copy(update={"shards": 1}))
    with pytest.raises(ReviewRefused, match="holds a data set"):
        export_reviewed(other, log, str(tmp_path / "reviewed"), "drop", COMMAND)
    judge("ann", NODULE, "accept")
    assert set(boxes(export())) == {("a.png", "Mass"), ("b.png", "Nodule")}
    assert not list((tmp_path / "reviewed").rglob(".*"))


def test_a_harvest_that_was_cut_is_not_written_over(
    dataset: Dataset, export: Export, tmp_path: Path
) -> None:
    begun = dataset.run.model_copy(update={"finished": False})
    (tmp_path / "reviewed").mkdir()
    (tmp_path / "reviewed" / RUN).write_text(begun.model_dump_json())
    with pytest.raises(ReviewRefused, match="holds a data set"):
        export()


def test_a_reviewed_data_set_can_be_reviewed(export: Export, judge: Judge, tmp_path: Path) -> None:
    judge("ann", MASS, "accept")
    reviewed = export()
    with Log.open(Path(reviewed.root)) as log:
        build_index(log, reviewed)
        run = export_reviewed(reviewed, log, str(tmp_path / "again"), "keep", COMMAND)
    assert run.counts is not None
    assert run.counts.boxes == 1
    assert len(SHARDS) == run.shards
