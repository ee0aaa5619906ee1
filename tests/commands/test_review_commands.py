"""The commands of a review, as they are typed."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from commands.main import app
from harvesting.dataset import Dataset
from harvesting.reopening import SourceReader
from harvesting.rows import FindingRow, RadiographRow, Rows, encode_heatmap
from localization import DISEASES, Box, Field, Finding
from reviewing.decisions import BoxId, Decision, Edges
from reviewing.index import build_index
from reviewing.log import Log
from reviewing.log_file import REVIEWS

HEAT = np.zeros((3, 4), np.float32)
HEATMAP = encode_heatmap(Finding("Mass", 0.5, 0.25, HEAT, (), HEAT[None]))
ROWS = Rows(
    (
        RadiographRow(
            "ward/a.png",
            "localized",
            format="PNG",
            width=100,
            height=80,
            field=Field(0, 0, 100, 80),
            labels=("Mass",),
            probabilities=(0.5,) * len(DISEASES),
        ),
    ),
    (FindingRow("ward/a.png", "Mass", 0.5, 0.25, True, (Box(1, 2, 3, 4, 0.5),), HEATMAP),),
    (),
)
BOX = BoxId("ward/a.png", "Mass", 0)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    (folder / "ward").mkdir(parents=True)
    cv2.imwrite(str(folder / "ward" / "a.png"), np.full((80, 100), 99, np.uint8))
    (tmp_path / "secret.png").write_bytes((folder / "ward" / "a.png").read_bytes())
    return folder


@pytest.fixture
def folder(write_dataset: Callable[..., Path], archive: Path) -> Path:
    return write_dataset([ROWS], source=str(archive))


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    return result.exit_code, result.output


def judge(folder: Path) -> None:
    with Log.open(folder) as log:
        build_index(log, Dataset.open(str(folder)))
        log.append(Decision("ann", BOX, "accept", Edges(1, 2, 3, 4)))
        log.append(Decision("ben", BOX, "move", Edges(1, 2, 3, 8)))
        log.append(Decision("cat", BOX, "reject"))


@pytest.fixture
def reviewing(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "commands", "review", str(folder), "--port", "0"],
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        address = r"http://127\.0\.0\.1:\d+"
        found = next((found for line in lines if (found := re.search(address, line))), None)
        assert found, "it has ended"
        yield found[0], process
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


def test_review_serves_until_ctrl_c_and_logs_nothing_of_the_patient(
    reviewing: tuple[str, "subprocess.Popen[str]"], folder: Path
) -> None:
    url, process = reviewing
    with urllib.request.urlopen(f"{url}/boxes?reviewer=ann", timeout=20) as answer:
        [box] = json.load(answer)["boxes"]
    with urllib.request.urlopen(f"{url}/boxes/{box['id']}/picture", timeout=20) as answer:
        assert answer.read(4) == b"\x89PNG"
    decision = urllib.request.Request(
        f"{url}/boxes/{box['id']}/decisions",
        json.dumps({"reviewer": "ann", "action": "reject"}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(decision, timeout=20) as answer:
        assert answer.status == 201
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert output == ""
    with Log.open_to_read(folder) as log:
        assert log.last("ann") == Decision("ann", BOX, "reject")


@pytest.mark.parametrize("command", ["review", "review-agreement"])
@pytest.mark.parametrize("url", ["s3://bucket/set", "https://host/set", "memory://set"])
def test_only_a_local_folder_is_reviewed(command: str, url: str) -> None:
    code, output = run(command, url)
    assert code == 2
    assert "this machine's disk" in output


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    code, output = run("review", tmp_path)
    assert code == 2
    assert "no harvested data set" in output
    assert not (tmp_path / REVIEWS).exists()


def test_other_machines_are_let_in_only_where_that_is_said(folder: Path) -> None:
    code, output = run("review", folder, "--host", "0.0.0.0")
    assert code == 2
    assert "--open" in output


def test_a_source_that_is_no_folder_is_named(folder: Path, tmp_path: Path) -> None:
    code, output = run("review", folder, "--source", tmp_path / "nowhere")
    assert code == 2
    assert "--source" in output


def test_what_was_not_harvested_is_not_read(folder: Path, archive: Path) -> None:
    read = SourceReader.of(Dataset.open(str(folder)), str(archive))
    assert read("ward/a.png")
    for path in ("../secret.png", str(archive.parent / "secret.png")):
        with pytest.raises(FileNotFoundError):
            read(path)


def test_the_reviewed_data_set_is_written_and_counted(folder: Path, tmp_path: Path) -> None:
    judge(folder)
    out = tmp_path / "reviewed"
    code, output = run("review-export", folder, "--out", out)
    assert code == 0, output
    assert "1 kept, 0 relabelled, 0 rejected, 0 tied, 0 unjudged" in output
    [finding] = Dataset.open(str(out)).findings(0)
    assert [(box.height, box.score) for box in finding.boxes] == [(6, 0.5)]
    code, output = run("review-export", folder, "--out", out)
    assert code == 2
    assert "holds a data set" in output


def test_agreement_is_printed(folder: Path) -> None:
    judge(folder)
    code, output = run("review-agreement", folder)
    assert code == 0
    assert re.search(r"ann / ben.* 1 .*1\.000.*1\.000.* 1 .*0\.500", output)
    assert re.search(r"ann / cat.* 1 .*0\.000", output)


@pytest.mark.parametrize(
    "arguments", [("review-export", "--out", "nowhere"), ("review-agreement",)]
)
def test_before_anyone_has_reviewed_it_that_is_said(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    code, output = run(*arguments, folder)
    assert code == 2
    assert "nobody has reviewed" in output
    assert not (folder / REVIEWS).exists()


@pytest.mark.parametrize("command", ["review", "review-agreement"])
def test_a_log_that_cannot_be_opened_is_said_in_a_sentence(folder: Path, command: str) -> None:
    (folder / REVIEWS).write_text("no database, whatever its name says" * 100)
    code, output = run(command, folder)
    assert code == 2
    assert f"{REVIEWS} cannot be opened: file is not a database." in output.replace("\n", "")


def test_where_nothing_can_be_written_that_is_said(folder: Path, tmp_path: Path) -> None:
    judge(folder)
    (tmp_path / "file").write_text("no folder")
    code, output = run("review-export", folder, "--out", tmp_path / "file" / "reviewed")
    assert code == 2
    assert "Not a directory" in output


def test_a_folder_of_other_files_is_not_exported_into(folder: Path, tmp_path: Path) -> None:
    judge(folder)
    out = tmp_path / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    code, output = run("review-export", folder, "--out", out)
    assert code == 2
    assert "holds other files" in output
    assert [file.name for file in out.iterdir()] == ["notes.txt"]


def test_a_harvest_does_not_go_on_from_an_export(
    folder: Path, archive: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    judge(folder)
    out = tmp_path / "reviewed"
    assert run("review-export", folder, "--out", out)[0] == 0
    code, output = run("harvest", archive, "--out", out, "--model", tiny_bundle)
    assert code == 2
    assert "holds the export of a review" in output
    assert "ann" not in output


@pytest.mark.parametrize("name", ["x" * 65, "  ", "two\nlines"])
def test_a_name_that_the_log_does_not_take_is_refused_at_once(folder: Path, name: str) -> None:
    code, output = run("review", folder, "--reviewer", name)
    assert code == 2
    assert "1 to 64 characters" in output
    assert not (folder / REVIEWS).exists()


@pytest.mark.parametrize("command", ["review-agreement", "review-export"])
def test_a_log_that_fails_while_it_is_read_is_said_in_a_sentence(
    folder: Path, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(folder)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Log, "transaction", fail)
    out = ["--out", str(tmp_path / "reviewed")] if command == "review-export" else []
    code, output = run(command, folder, *out)
    assert code == 2
    assert "The log of decisions cannot be used: disk I/O error." in output
