"""`cxr-localizer harvest` as a person runs it, and as machines cut it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from typer.testing import CliRunner

from commands.main import app
from harvesting.dataset import Dataset
from harvesting.run import RUN

KILLS = 10


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 tiny radiographs, of which one is none."""
    folder = tmp_path_factory.mktemp("archive")
    for k in range(1000):
        pixels = np.full((64, 64), 60 + k % 190, np.uint8)
        pixels[:8, :8] = 0
        cv2.imwrite(str(folder / f"{k:04d}.png"), pixels)
    (folder / "0500.png").write_text("no picture")
    return folder


def command(archive: Path, out: Path, bundle: Path, *more: object) -> list[str]:
    harvest = ["harvest", archive, "--out", out, "--model", bundle, "--workers", 2]
    return [str(part) for part in (*harvest, "--shard-size", 20, *more)]


def start(*arguments: str) -> "subprocess.Popen[str]":
    """In a session of its own, so that all of its processes can be killed at once."""
    return subprocess.Popen(
        [sys.executable, "-m", "commands", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def shards(out: Path) -> int:
    """How many are written."""
    return len(list(out.glob("radiographs/shard=*/part.parquet")))


def wait_for_work(process: "subprocess.Popen[str]", out: Path) -> None:
    """Until one more shard is written."""
    before = shards(out)
    while process.poll() is None and shards(out) == before:
        time.sleep(0.01)


def parquet(out: Path) -> dict[str, bytes]:
    return {str(f.relative_to(out)): f.read_bytes() for f in sorted(out.rglob("*.parquet"))}


@pytest.fixture(scope="module")
def whole(
    archive: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The Parquet files of an unbroken run."""
    out = tmp_path_factory.mktemp("whole")
    result = CliRunner().invoke(app, command(archive, out, tiny_bundle))
    assert result.exit_code == 0, result.output
    assert "999 of 1000 files localized" in result.stdout
    assert "failed, unsupported-format: 1" in result.stdout
    assert "files/s" in result.stdout
    return parquet(out)


@pytest.mark.timeout(280)
def test_killed_ten_times_at_random_moments_it_ends_with_the_same_bytes(
    archive: Path, tiny_bundle: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out, moments = tmp_path / "out", random.Random(7)
    for kill in range(KILLS):
        process = start(*command(archive, out, tiny_bundle))
        # Half of them while it begins or plans, half while shards are read, mined and written.
        if kill % 2:
            wait_for_work(process, out)
            time.sleep(moments.uniform(0, 0.2))
        else:
            time.sleep(moments.uniform(0, 3))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert KILLS / 2 <= shards(out) < 50
    process = start(*command(archive, out, tiny_bundle))
    said, _ = process.communicate()
    assert process.returncode == 0
    assert "Resumed" in said
    assert "999 of 1000 files localized" in said
    assert parquet(out) == whole
    assert not list(out.rglob(".*"))


def test_sigterm_ends_it_in_order_and_it_goes_on(
    archive: Path, tiny_bundle: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(*command(archive, out, tiny_bundle))
    wait_for_work(process, out)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "Stopped; the same command goes on from here.\n"
    assert not list(out.glob("attempts/[0-9]*"))
    with pytest.raises(ProcessLookupError):
        wait_until_gone(process.pid)
    assert CliRunner().invoke(app, command(archive, out, tiny_bundle)).exit_code == 0
    assert parquet(out) == whole


def wait_until_gone(group: int) -> None:
    """Raises `ProcessLookupError` once no process of a group is left."""
    for _ in range(500):
        os.killpg(group, 0)
        time.sleep(0.01)


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    archive: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("path,Mass,Fracture\n0001.png,1,0\n0002.png,0,1\nelsewhere.png,1,1\n")
    out = tmp_path / "out"
    result = CliRunner().invoke(
        app, command(archive, out, tiny_bundle, "--labels", labels, "--dry-run")
    )
    assert result.exit_code == 0
    assert "1000 files in 50 shards, labelled mode, by tiny 1 (fp32, cpu)" in result.stdout
    assert "3 lines; 2 files have one, 998 have none" in result.stdout
    assert "no disease: Fracture" in result.stdout
    assert not out.exists()


def test_a_run_says_its_command_and_timings(
    archive: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    process = start(*command(archive, tmp_path / "out", tiny_bundle, "--limit", 30))
    process.communicate()
    run = Dataset.open(str(tmp_path / "out")).run
    assert run.command[:2] == ["cxr-localizer", "harvest"]
    assert "--limit" in run.command
    assert run.files == 30
    assert "report_seconds" in run.timings
    assert run.timings["radiographs_per_second"] == pytest.approx(
        30 / run.timings["seconds"], rel=0.01
    )
    assert json.loads((tmp_path / "out" / RUN).read_text())["finished"]


def test_a_url_whose_package_is_missing_names_it(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    out = str(tmp_path / "out")
    result = CliRunner().invoke(
        app, ["harvest", "s3://archive", "--out", out, "--model", str(tiny_bundle)]
    )
    assert result.exit_code == 2
    assert "Install s3fs to access S3" in result.stderr


class NoCredentialsError(Exception):
    """As botocore's, which is no `OSError` either."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NoCredentialsError(), "cloud://bucket/archive cannot be had (NoCredentialsError)."),
        (TimeoutError(), "TimeoutError"),
    ],
)
@pytest.mark.parametrize("place", ["source", "out"])
def test_a_cloud_that_is_out_of_reach_is_said_in_a_sentence(
    archive: Path, tiny_bundle: Path, tmp_path: Path, error: Exception, said: str, place: str
) -> None:
    class CloudFiles(MemoryFileSystem):
        protocol = "cloud"

        def _refuse(self, *_: object, **__: object) -> None:
            raise error

        isdir = cat_file = _refuse

    fsspec.register_implementation("cloud", CloudFiles, clobber=True)
    cloud = "cloud://me:secret@bucket/archive"
    asked = {"source": archive, "out": tmp_path / "out", place: cloud}
    arguments = command(asked["source"], asked["out"], tiny_bundle)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr == f"cxr-localizer: {said}\n"


def test_what_is_left_out_is_said_and_kept(tiny_bundle: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "archive", tmp_path / "out"
    folder.mkdir()
    for name in ("1.ima", "2.ima", "notes.txt", "a.png"):
        (folder / name).write_bytes(b"x")
    result = CliRunner().invoke(app, command(folder, out, tiny_bundle))
    assert result.exit_code == 0
    assert "1 files in 1 shards" in result.stdout
    assert "3 files left out by their suffix: .ima 2, .txt 1." in result.stdout
    assert Dataset.open(str(out)).run.left_out == {".ima": 2, ".txt": 1}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--mode", "labelled"], "needs labels"),
        (["--labels", "nowhere.csv"], "nowhere.csv"),
        (["--model", "nowhere"], "manifest.json"),
        (["--join-key-file", "short"], "openssl rand"),
        (["--seed", "1"], "--seed is of --sample"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    archive: Path,
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short").write_text("secret")
    result = CliRunner().invoke(app, command(archive, tmp_path / "out", tiny_bundle, *more))
    assert result.exit_code == 2
    assert said in result.stderr
    assert "secret" not in result.stderr
    assert not (tmp_path / "out").exists()
