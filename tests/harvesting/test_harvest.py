"""A harvest's rows: modes, labels, failures, identifiers; what may be resumed and what may not."""

import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
from dataclasses import asdict
from multiprocessing import active_children
from pathlib import Path

import pytest
from harvest_helpers import (
    FailingFiles,
    KillingFiles,
    fill,
    harvest,
    options,
    parquet,
    png,
    rows,
)
from pydicom import dcmread
from pydicom.data import get_testdata_file

from harvesting.dataset import Dataset, DatasetRefused
from harvesting.harvest import Harvest, HarvestRefused, ReportFailed
from harvesting.processes import WorkFailed
from harvesting.rows import NOBODY, decode_heatmap
from harvesting.run import RUN
from harvesting.shard import REASONS, Done
from localization import (
    DISEASES,
    Compute,
    Localizer,
    ModelBundle,
    Radiograph,
    shipped_bundle,
    to_answer,
)
from localization.refusal import REASONS as REFUSALS

KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three radiographs: a bright one, a dark one, one that the labels do not name."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for name, level in (("bright", 250), ("dark", 20), ("other", 250)):
        (folder / f"{name}.png").write_bytes(png(level))
    (tmp_path / "labels.csv").write_text(
        "Image Index,Finding Labels\nbright.png,Cardiomegaly|Hernia\ndark.png,No Finding\n"
    )
    return folder


def test_open_mines_what_reaches_its_operating_point(archive: Path, tiny_bundle: Path) -> None:
    found = harvest(archive, archive.parent / "out", tiny_bundle)
    assert found.run.mode == "open"
    localizer = Localizer(ModelBundle.load(tiny_bundle), Compute("cpu", threads=1))
    radiograph = Radiograph.read((archive / "bright.png").read_bytes())
    expected = localizer.localize(radiograph)
    mined = [row for row in rows(found)["findings"] if row.path == "bright.png"]
    positive = {finding.disease: finding for finding in expected.findings if finding.positive}
    assert [row.disease for row in mined] == [d for d in DISEASES if d in positive]
    for row in mined:
        finding = positive[row.disease]
        assert row.boxes == finding.boxes
        assert row.labelled is None
        assert abs(decode_heatmap(row.heatmap) - finding.heatmap).max() <= 0.5 / 255 + 1e-6
    assert not [row for row in rows(found)["findings"] if row.path == "dark.png"]
    assert rows(found)["disagreements"] == []
    [localized] = [row for row in rows(found)["radiographs"] if row.path == "bright.png"]
    answer = to_answer(expected, id="x")
    assert localized.probabilities == pytest.approx(
        [next(f["probability"] for f in answer["findings"] if f["disease"] == d) for d in DISEASES],
        abs=1e-6,
    )
    assert (localized.width, localized.height, localized.format) == (64, 64, "PNG")
    assert localized.patient == NOBODY


def test_the_shipped_model_gives_a_harvest_what_the_service_answers(tmp_path: Path) -> None:
    chest = Path(get_testdata_file("RG1_UNCR.dcm", download=False) or "")
    (tmp_path / "archive").mkdir()
    shutil.copy(chest, tmp_path / "archive")
    # In a batch of its own: quantized values depend on what shares a batch.
    found = harvest(tmp_path / "archive", tmp_path / "out", shipped_bundle(), batch=1)
    localizer = Localizer(ModelBundle.load(shipped_bundle()), Compute("cpu"))
    assert found.run.model.precision == localizer.precision
    answer = to_answer(localizer.localize(Radiograph.read(chest.read_bytes())), id="x")
    [radiograph] = rows(found)["radiographs"]
    answered = {finding["disease"]: finding for finding in answer["findings"]}
    assert [round(p, 6) for p in radiograph.probabilities] == [
        answered[disease]["probability"] for disease in DISEASES
    ]
    mined = rows(found)["findings"]
    assert {row.disease for row in mined} == {d for d in DISEASES if answered[d]["positive"]}
    for row in mined:
        boxes = [
            {name: round(v, 4 if name == "score" else 1) for name, v in asdict(box).items()}
            for box in row.boxes
        ]
        assert boxes == answered[row.disease]["boxes"] != []
        assert base64.b64encode(row.heatmap).decode() == answered[row.disease]["heatmap"]["data"]


def test_labelled_mines_the_labelled_diseases_whatever_the_probability(
    archive: Path, tiny_bundle: Path
) -> None:
    labels = archive.parent / "labels.csv"
    found = harvest(archive, archive.parent / "out", tiny_bundle, labels=str(labels))
    assert found.run.mode == "labelled"
    mined = rows(found)["findings"]
    assert [(row.path, row.disease) for row in mined] == [
        ("bright.png", "Cardiomegaly"),
        ("bright.png", "Hernia"),
    ]
    assert not mined[1].positive
    assert all(row.boxes and row.labelled for row in mined)
    by_path = {row.path: row.labels for row in rows(found)["radiographs"]}
    assert by_path == {
        "bright.png": ("Cardiomegaly", "Hernia"),
        "dark.png": (),
        "other.png": None,
    }


def test_where_label_and_model_disagree_is_a_row(archive: Path, tiny_bundle: Path) -> None:
    labels = archive.parent / "labels.csv"
    found = harvest(archive, archive.parent / "out", tiny_bundle, labels=str(labels))
    disputes = {(row.path, row.disease): row for row in rows(found)["disagreements"]}
    assert {path for path, _ in disputes} == {"bright.png"}
    assert disputes["bright.png", "Hernia"].kind == "label-only"
    assert disputes["bright.png", "Atelectasis"].kind == "model-only"
    assert ("bright.png", "Cardiomegaly") not in disputes
    assert all(
        (row.probability < row.threshold) == (row.kind == "label-only") for row in disputes.values()
    )


def test_labels_may_be_kept_beside_open_mining(archive: Path, tiny_bundle: Path) -> None:
    labels = archive.parent / "labels.csv"
    found = harvest(archive, archive.parent / "out", tiny_bundle, labels=str(labels), mode="open")
    mined = {row.disease: row for row in rows(found)["findings"] if row.path == "bright.png"}
    assert mined["Cardiomegaly"].labelled
    assert mined["Atelectasis"].labelled is False
    assert "Hernia" not in mined


@pytest.mark.parametrize("mode", ["open", "labelled"])
def test_what_the_labels_leave_open_is_no_dispute_and_not_labelled(
    archive: Path, tiny_bundle: Path, mode: str
) -> None:
    labels = archive.parent / "columns.csv"
    labels.write_text(
        "path,Cardiomegaly,Atelectasis,Effusion,Hernia\nbright.png,1,0,-1,\nbroken.png,,1,0,\n"
    )
    (archive / "broken.png").write_bytes(b"")
    found = harvest(archive, archive.parent / "out", tiny_bundle, labels=str(labels), mode=mode)
    disputes = [(row.path, row.disease, row.kind) for row in rows(found)["disagreements"]]
    assert disputes == [("bright.png", "Atelectasis", "model-only")]
    counts = found.run.counts
    assert counts is not None
    assert counts.disagreements == 1
    mined = {row.disease: row.labelled for row in rows(found)["findings"] if row.path < "c"}
    opened = {"Atelectasis": False, "Effusion": None, "Infiltration": None}
    assert mined == {"Cardiomegaly": True, **(opened if mode == "open" else {})}
    by_path = {row.path: row for row in rows(found)["radiographs"]}
    assert by_path["bright.png"].labels == ("Cardiomegaly",)
    assert set(DISEASES) - set(by_path["bright.png"].unknown) == {"Cardiomegaly", "Atelectasis"}
    assert by_path["broken.png"].outcome == "failed"
    assert set(DISEASES) - set(by_path["broken.png"].unknown) == {"Atelectasis", "Effusion"}
    assert (by_path["other.png"].labels, by_path["other.png"].unknown) == (None, ())
    annotations = json.loads((archive.parent / "out/coco.json").read_text())["annotations"]
    known = {each["attributes"].get("labelled", "left out") for each in annotations}
    assert known == ({True, False, "left out"} if mode == "open" else {True})


def test_50_broken_files_among_1000_are_50_rows_and_950_are_localized(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    folder = fill(tmp_path / "archive", 1000)
    whole = png()
    faults = {
        "empty": b"",
        "unsupported-format": b"no picture",
        "truncated": whole[:-40],
        "too-small": png(side=32),
        "blank": None,
    }
    broken = {}
    for k, file in enumerate(sorted(folder.iterdir())[::20]):
        reason = list(faults)[k % 5]
        content = faults[reason]
        # A link to nowhere, in place of what the tiny model cannot tell.
        if content is None:
            file.unlink()
            file.symlink_to(folder / "nowhere")
            reason = "missing"
        else:
            file.write_bytes(content)
        broken[file.name] = reason
    found = harvest(folder, tmp_path / "out", tiny_bundle)
    radiographs = rows(found)["radiographs"]
    assert len(radiographs) == 1000
    assert {row.path: row.reason for row in radiographs if row.outcome == "failed"} == broken
    assert all(row.detail for row in radiographs if row.outcome == "failed")
    assert sum(row.outcome == "localized" for row in radiographs) == 950
    counts = found.run.counts
    assert counts is not None
    assert counts.failed == dict.fromkeys(sorted(set(broken.values())), 10)
    assert (counts.radiographs, counts.localized) == (1000, 950)
    assert counts.findings == len(rows(found)["findings"])
    assert counts.boxes == sum(len(row.boxes) for row in rows(found)["findings"])


def test_every_reason_is_described() -> None:
    assert not set(REASONS) & set(REFUSALS)


def test_a_file_that_kills_its_process_is_a_row_and_costs_no_other(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    folder = fill(tmp_path / "archive", 120)
    clean = rows(harvest(folder, tmp_path / "clean", tiny_bundle))
    killer = folder / "00060-killer.png"
    killer.write_bytes(png())
    found = rows(harvest(folder, tmp_path / "out", tiny_bundle, files=KillingFiles()))
    [died] = [row for row in found["radiographs"] if row.outcome == "failed"]
    assert (died.path, died.reason) == (killer.name, "worker-died")
    assert [row for row in found["radiographs"] if row != died] == clean["radiographs"]
    assert found["findings"] == clean["findings"]
    assert not (tmp_path / "out/attempts").exists()


def test_a_worker_that_is_killed_changes_nothing(tmp_path: Path, tiny_bundle: Path) -> None:
    folder = fill(tmp_path / "archive", 400)
    harvest(folder, tmp_path / "whole", tiny_bundle)
    killed = []

    def kill_one(done: Done) -> None:
        if not killed:
            killed.append(active_children()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    harvest(folder, tmp_path / "out", tiny_bundle, kill_one)
    assert killed
    assert parquet(tmp_path / "out") == parquet(tmp_path / "whole")


def test_a_fault_that_no_one_foresaw_stops_the_run_without_quoting_a_file(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    folder = fill(tmp_path / "archive", 10)
    with pytest.raises(WorkFailed, match="ZeroDivisionError in harvest_helpers") as failed:
        harvest(folder, tmp_path / "out", tiny_bundle, files=FailingFiles())
    assert "patient" not in str(failed.value)
    assert active_children() == []
    # Once the fault is gone, it goes on.
    assert len(rows(harvest(folder, tmp_path / "out", tiny_bundle))["radiographs"]) == 10


def test_a_run_that_is_broken_off_goes_on_to_the_same_bytes(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    folder = fill(tmp_path / "archive", 300)
    out = tmp_path / "out[1]"  # the name is no pattern
    whole = harvest(folder, tmp_path / "whole", tiny_bundle)

    def stop(done: Done) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        harvest(folder, out, tiny_bundle, stop)
    assert active_children() == []
    assert not list((out / "attempts").glob("[0-9]*"))
    assert Harvest.open(options(folder, out, tiny_bundle)).remaining_files < 300
    # What the archive has gained since is no part of the plan.
    fill(folder, 5, start=1000)
    (out / "radiographs/.part.parquet.1.unfinished").write_bytes(b"cut")
    again = harvest(folder, out, tiny_bundle)
    assert parquet(out) == parquet(tmp_path / "whole")
    assert again.run.counts == whole.run.counts
    assert not list((out).rglob(".*"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"policy": "off"}, r"gate \(refuse, now off\)"),
        ({"shard_size": 7}, "shard_size"),
        ({"batch": 2}, "batch_size"),
        ({"limit": 3}, "limit"),
        ({"sample": 3}, "sample"),
        ({"key": KEY}, "join_key"),
        ({"labels": "labels.csv"}, r"mode \(open, now labelled\)"),
    ],
)
def test_a_run_is_resumed_only_as_it_began(
    archive: Path,
    tiny_bundle: Path,
    changed: dict[str, object],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(archive.parent)
    out = archive.parent / "out"
    begun = Harvest.open(options(archive, out, tiny_bundle))
    with pytest.raises(KeyboardInterrupt):
        begun.work(interrupted, lambda done: None)
    with pytest.raises(HarvestRefused, match=said):
        Harvest.open(options(archive, out, tiny_bundle, **changed))
    resumed = Harvest.open(options(archive, out, tiny_bundle)).run
    assert resumed.model_copy(update={"timings": {}}) == begun.run


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_another_source_or_model_does_not_resume(
    archive: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        Harvest.open(options(archive, out, tiny_bundle)).work(interrupted, lambda done: None)
    with pytest.raises(HarvestRefused, match="source"):
        Harvest.open(options(fill(tmp_path / "others", 3), out, tiny_bundle))
    other = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    manifest = other / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": "1"', '"version": "2"'))
    with pytest.raises(HarvestRefused, match=r"model's version \(1, now 2\)"):
        Harvest.open(options(archive, out, other))


def test_a_source_is_the_same_however_it_is_typed_and_from_where(
    archive: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    monkeypatch.chdir(archive.parent)
    with pytest.raises(KeyboardInterrupt):
        Harvest.open(options("archive", out, tiny_bundle)).work(interrupted, lambda done: None)
    for same in ("archive/", "./archive", archive, f"file://{archive}"):
        assert Harvest.open(options(same, out, tiny_bundle)).run.source == str(archive)
    fill(elsewhere / "archive", 3)
    monkeypatch.chdir(elsewhere)
    with pytest.raises(HarvestRefused, match="another source"):
        Harvest.open(options("archive", out, tiny_bundle))
    assert Harvest.open(options("../archive", out, tiny_bundle)).resumed


def test_a_finished_data_set_and_a_folder_of_other_files_are_left_alone(
    archive: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    harvest(archive, tmp_path / "out", tiny_bundle)
    before = (tmp_path / "out" / RUN).read_bytes()
    with pytest.raises(HarvestRefused, match="is finished"):
        harvest(archive, tmp_path / "out", tiny_bundle)
    assert (tmp_path / "out" / RUN).read_bytes() == before
    with pytest.raises(HarvestRefused, match="other files"):
        harvest(archive, archive, tiny_bundle)


def test_a_run_that_is_cut_while_it_exports_exports_again(
    archive: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as cut:
        cut.setattr("harvesting.harvest.write_exports", interrupted)
        with pytest.raises(KeyboardInterrupt):
            harvest(archive, tmp_path / "out", tiny_bundle)
    with pytest.raises(DatasetRefused, match="not finished"):
        Dataset.open(str(tmp_path / "out"))
    assert not (tmp_path / "out/coco.json").exists()
    harvest(archive, tmp_path / "out", tiny_bundle)
    for name in ("coco.json", "boxes.csv", "report.html"):
        assert (tmp_path / "out" / name).stat().st_size


def test_a_report_that_fails_costs_no_row_and_is_written_by_the_same_command(
    archive: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object) -> None:
        raise ZeroDivisionError("a message that may quote a patient")

    with monkeypatch.context() as faulty:
        faulty.setattr("harvesting.harvest.write_report", fault)
        with pytest.raises(ReportFailed) as failed:
            harvest(archive, tmp_path / "out", tiny_bundle)
    assert "ZeroDivisionError in test_harvest.py" in str(failed.value)
    assert "patient" not in str(failed.value)
    found = Dataset.open(str(tmp_path / "out"))
    assert len(rows(found)["radiographs"]) == 3
    before = {
        file: file.stat().st_mtime_ns
        for file in (tmp_path / "out").rglob("*.*")
        if file.name != RUN  # which gains the report's time
    }
    harvest(archive, tmp_path / "out", tiny_bundle)
    assert b"<html" in (tmp_path / "out/report.html").read_bytes()
    assert before == {file: file.stat().st_mtime_ns for file in before}
    with pytest.raises(HarvestRefused, match="is finished"):
        harvest(archive, tmp_path / "out", tiny_bundle)


def test_labelled_without_labels_or_with_anothers_and_an_empty_archive_are_refused(
    archive: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(HarvestRefused, match="needs labels"):
        harvest(archive, tmp_path / "out", tiny_bundle, mode="labelled")
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarvestRefused, match="no radiograph"):
        harvest(tmp_path / "empty", tmp_path / "out", tiny_bundle)
    (tmp_path / "others.csv").write_text("path,Mass\ndark.png,1\nelsewhere.png,1\n")
    with pytest.raises(HarvestRefused, match=r"others\.csv names none of the 1 files"):
        harvest(archive, tmp_path / "out", tiny_bundle, labels=f"{tmp_path}/others.csv", limit=1)
    assert not (tmp_path / "out").exists()


def test_a_limit_takes_the_first_and_a_sample_any_by_its_seed(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    folder = fill(tmp_path / "archive", 100)

    def chosen(**more: int) -> list[str]:
        plan = Harvest.open(options(folder, tmp_path / "out", tiny_bundle, **more)).plan
        return [item.path for n in range(plan.shards) for item in plan.shard(n).items]

    assert chosen(limit=3) == ["00000.png", "00001.png", "00002.png"]
    drawn = chosen(sample=10, seed=1)
    assert drawn == chosen(sample=10, seed=1) == sorted(drawn)
    assert len(set(drawn)) == 10
    assert drawn != chosen(sample=10, seed=2)
    assert set(chosen(limit=5, sample=3)) < set(chosen(limit=5))
    assert len(chosen(sample=1000)) == 100


def dicom(folder: Path) -> Path:
    """A DICOM radiograph of a patient who has a name."""
    folder.mkdir()
    file = dcmread(get_testdata_file("RG1_UNCR.dcm", download=False) or "")
    file.PatientID, file.PatientName = "PAT-4711", "Doe^Jane"
    file.StudyInstanceUID = "1.2.3.4711"
    file.save_as(folder / "IM0001")
    return folder


def test_identifiers_are_left_out_or_hashed_and_never_written(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    folder = dicom(tmp_path / "archive")
    [left_out] = rows(harvest(folder, tmp_path / "out", tiny_bundle, policy="off"))["radiographs"]
    assert left_out.outcome == "localized"
    assert left_out.patient == NOBODY
    found = harvest(folder, tmp_path / "keyed", tiny_bundle, policy="off", key=KEY)
    [hashed] = rows(found)["radiographs"]
    assert hashed.patient.patient == hmac.new(KEY, b"PAT-4711", hashlib.sha256).hexdigest()
    assert hashed.patient.study == hmac.new(KEY, b"1.2.3.4711", hashlib.sha256).hexdigest()
    assert hashed.patient.instance is not None
    assert not any(secret in repr((left_out, rows(found))) for secret in ("4711", "Doe"))
    for out in (tmp_path / "out", tmp_path / "keyed"):
        for file in (file for file in out.rglob("*") if file.is_file()):
            for secret in (b"4711", b"Doe", KEY):
                assert secret not in file.read_bytes(), file


WORDS = (
    *("BodyPartExamined", "ImageType", "LossyImageCompression", "Modality", "PatientOrientation"),
    *("PhotometricInterpretation", "PixelIntensityRelationship", "PresentationIntentType"),
    *("PresentationLUTShape", "VOILUTFunction", "ViewPosition", "WindowCenterWidthExplanation"),
)
"""Of a header, all but the names: what refusals and windows speak of."""


def test_no_word_of_a_header_gets_into_the_data_set(tmp_path: Path, tiny_bundle: Path) -> None:
    folder = dicom(tmp_path / "archive")
    for keyword in WORDS:
        file = dcmread(folder / "IM0001")
        setattr(file, keyword, "DOE_JANE")
        file.save_as(folder / f"{keyword}.dcm")
    found = harvest(folder, tmp_path / "out", tiny_bundle, policy="flag")
    counts = found.run.counts
    assert counts is not None
    assert counts.localized
    assert counts.failed
    # Tables are compressed: their rows are looked through, too.
    assert "DOE" not in repr(rows(found))
    for file in (file for file in (tmp_path / "out").rglob("*") if file.is_file()):
        assert b"DOE" not in file.read_bytes(), file


def test_archives_and_batches_give_what_files_give(tmp_path: Path, tiny_bundle: Path) -> None:
    folder = fill(tmp_path / "archive", 120)
    plain = rows(harvest(folder, tmp_path / "plain", tiny_bundle))
    (tmp_path / "packed").mkdir()
    for kind in ("zip", "gztar"):
        shutil.make_archive(str(tmp_path / "packed" / "images"), kind, folder)
        packed = rows(harvest(tmp_path / "packed/images.*", tmp_path / kind, tiny_bundle, batch=16))
        names = [row.path.rpartition("/")[2] for row in packed["radiographs"]]
        assert sorted(names) == [row.path for row in plain["radiographs"]]
        boxes = {
            (row.path.rpartition("/")[2], row.disease): row.boxes for row in packed["findings"]
        }
        assert boxes == {(row.path, row.disease): row.boxes for row in plain["findings"]}
        next((tmp_path / "packed").iterdir()).unlink()


def test_memory_stays_flat(tmp_path: Path, tiny_bundle: Path) -> None:
    folder = fill(tmp_path / "archive", 3000)
    seen: list[tuple[int, int]] = []

    def look(done: Done) -> None:
        pids = [child.pid for child in active_children()]
        seen.append((resident(os.getpid()), sum(resident(pid) for pid in pids if pid is not None)))

    harvest(folder, tmp_path / "out", tiny_bundle, look)
    assert len(seen) == 60
    for leading_or_workers in zip(*seen, strict=True):
        assert max(leading_or_workers[-10:]) - max(leading_or_workers[10:20]) < 20e6


def resident(pid: int) -> int:
    """Bytes of a process in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
