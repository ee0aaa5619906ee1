"""The Ray engine, on a Ray of two workers on this machine."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from harvest_helpers import (
    FailingFiles,
    HangingFiles,
    KillingFiles,
    fill,
    harvest,
    options,
    parquet,
    png,
    rows,
)
from typer.testing import CliRunner

from commands.main import app
from harvesting import ray_engine
from harvesting.dataset import Dataset
from harvesting.harvest import Harvest
from harvesting.limits import Limits
from harvesting.local import EngineFailed
from harvesting.processes import WorkFailed
from harvesting.shard import Done
from localization import ModelBundle

# Ray's own: it sets what it has deprecated where it first makes its settings.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:`use_\w+` is deprecated:DeprecationWarning:ray\.data\.context"
)

ON_RAY = ray_engine.ray_engine(workers=None)


@pytest.fixture(scope="module", autouse=True)
def address() -> Iterator[str]:
    """Of a Ray of two cores and little shared memory, whose workers know these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{Path.cwd()}{os.pathsep}{Path(__file__).parent}")
        with ray_engine.connected("local", cpus=2, memory=200_000_000) as address:
            yield address


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Radiographs for eight shards of ten, one of them broken."""
    folder = fill(tmp_path / "archive", 80)
    (folder / "00033.png").write_bytes(png()[:-40])
    return folder


def on_ray(archive: Path, out: Path, bundle: Path, **more: Any) -> Dataset:
    return harvest(archive, out, bundle, **{"engine": ON_RAY, "shard_size": 10, **more})


def locally(archive: Path, out: Path, bundle: Path, **more: Any) -> Dataset:
    return harvest(archive, out, bundle, **{"shard_size": 10, **more})


def test_ray_writes_the_bytes_that_the_local_engine_writes(
    archive: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    names = [f"{k:05d}.png,{'Hernia' if k % 2 else 'No Finding'}" for k in range(0, 80, 3)]
    (tmp_path / "labels.csv").write_text("Image Index,Finding Labels\n" + "\n".join(names) + "\n")
    said: list[int] = []
    more = {"labels": str(tmp_path / "labels.csv"), "batch": 4}
    local = locally(archive, tmp_path / "local", tiny_bundle, **more)
    ray = on_ray(
        archive, tmp_path / "ray", tiny_bundle, report=lambda done: said.append(done.shard), **more
    )
    assert parquet(tmp_path / "ray") == parquet(tmp_path / "local")
    assert len(parquet(tmp_path / "ray")) == 1 + 3 * 8
    assert sorted(said) == list(range(8))
    assert ray.run.counts == local.run.counts
    assert not (tmp_path / "ray/attempts").exists()


class KillingOnce(LocalFileSystem):
    """Kills the first process that reads a certain file, and leaves its title."""

    def cat_file(self, path: str, start: Any = None, end: Any = None, **kwargs: Any) -> bytes:
        title = Path(path).parent.parent / "killed"
        if path.endswith("00042.png") and not title.exists():
            title.write_bytes(Path("/proc/self/cmdline").read_bytes())
            os.kill(os.getpid(), signal.SIGKILL)
        content: bytes = super().cat_file(path, start, end, **kwargs)
        return content


def test_a_worker_that_is_killed_while_it_reads_changes_nothing(
    archive: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    locally(archive, tmp_path / "local", tiny_bundle)
    on_ray(archive, tmp_path / "ray", tiny_bundle, files=KillingOnce())
    assert (tmp_path / "killed").read_bytes().startswith(b"ray::")
    assert parquet(tmp_path / "ray") == parquet(tmp_path / "local")


def test_a_worker_that_is_killed_while_it_holds_the_model_changes_nothing(
    archive: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    locally(archive, tmp_path / "local", tiny_bundle, shard_size=2)
    killed: list[int] = []

    def kill_once(done: Done) -> None:
        if not killed:
            killed.extend(model_processes())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    on_ray(archive, tmp_path / "ray", tiny_bundle, report=kill_once, shard_size=2)
    assert killed
    assert parquet(tmp_path / "ray") == parquet(tmp_path / "local")


def model_processes() -> list[int]:
    """Those that hold a model."""
    titles = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants()}
    return [pid for pid, title in titles.items() if b"MapWorker(Map(_Inferring" in title]


def descendants() -> list[int]:
    """The processes of this test's Ray: there may be others."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # After the name in brackets: the state, then the parent.
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(stat[1])

    def descends(pid: int) -> bool:
        return parents.get(pid) == os.getpid() or (pid in parents and descends(parents[pid]))

    return [pid for pid in parents if descends(pid)]


def test_it_listens_to_this_machine_alone(address: str) -> None:
    sockets = set()
    for pid in [os.getpid(), *descendants()]:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                sockets.add(os.readlink(descriptor))
    listening = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            # 0A: it listens.
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                here, _, port = words[1].partition(":")
                listening[int(port, 16)] = here
    assert int(address.rpartition(":")[2]) in listening
    # 127.0.0.1, as such and as an address of IPv6.
    assert set(listening.values()) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_a_file_that_kills_its_process_becomes_the_row_that_it_is_locally(
    archive: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    (archive / "00042.png").rename(archive / "00042-killer.png")
    locally(archive, tmp_path / "local", tiny_bundle, files=KillingFiles())
    found = on_ray(archive, tmp_path / "ray", tiny_bundle, files=KillingFiles())
    died = [row.path for row in rows(found)["radiographs"] if row.reason == "worker-died"]
    assert died == ["00042-killer.png"]
    assert parquet(tmp_path / "ray") == parquet(tmp_path / "local")


def test_a_file_that_hangs_becomes_the_row_that_it_is_locally(
    archive: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    (archive / "00042.png").rename(archive / "00042-hanger.png")
    slow = {"files": HangingFiles(), "limits": Limits(start=10, together=0, alone=4)}
    locally(archive, tmp_path / "local", tiny_bundle, **slow)
    found = on_ray(archive, tmp_path / "ray", tiny_bundle, **slow)
    late = [row.path for row in rows(found)["radiographs"] if row.reason == "timed-out"]
    assert late == ["00042-hanger.png"]
    assert parquet(tmp_path / "ray") == parquet(tmp_path / "local")


def test_a_shard_whose_readers_are_lost_again_and_again_stops_the_run(
    archive: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "out/attempts").mkdir(parents=True)
    (tmp_path / "out/attempts/00003").write_bytes(b"\n" * ray_engine.MOST_ATTEMPTS)
    planned = Harvest.open(options(archive, tmp_path / "planned", tiny_bundle, shard_size=10))
    job = replace(planned.job, out=str(tmp_path / "out"))
    with pytest.raises(EngineFailed, match=r"Shard 3 was begun 10 times.* enough memory\?"):
        ON_RAY(job, [planned.plan.shard(3)], lambda done: None)


def test_a_fault_that_no_one_foresaw_stops_the_run_and_no_log_quotes_a_file(
    archive: Path, tiny_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WorkFailed, match="ZeroDivisionError in harvest_helpers") as failed:
        on_ray(archive, tmp_path / "out", tiny_bundle, files=FailingFiles())
    logs = Path(ray_engine.ray._private.worker._global_node.get_logs_dir_path())
    said = [file.read_bytes() for file in logs.rglob("*") if file.is_file()]
    assert said
    told = [str(failed.value).encode(), *map(str.encode, capfd.readouterr()), *said]
    assert not any(b"quote a patient" in words for words in told)


def command(archive: Path, bundle: Path, address: str, *more: str) -> list[str]:
    """Of a harvest into `ray`, in whatever folder it is run: Ray's processes have their own."""
    return [
        *(sys.executable, "-m", "commands", "harvest", str(archive), "--out", "ray"),
        *("--model", str(bundle), "--engine", "ray", "--address", address, *more),
    ]


def test_the_command_joins_a_ray_that_runs(
    archive: Path, tiny_bundle: Path, tmp_path: Path, address: str
) -> None:
    locally(archive, tmp_path / "local", tiny_bundle)
    done = subprocess.run(
        command(archive, tiny_bundle, address, "--shard-size", "10"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "79 of 80 files localized" in done.stdout
    assert parquet(tmp_path / "ray") == parquet(tmp_path / "local")


def test_what_sigterm_stopped_on_ray_the_local_engine_finishes(
    archive: Path, tiny_bundle: Path, tmp_path: Path, address: str
) -> None:
    locally(archive, tmp_path / "local", tiny_bundle, shard_size=1)
    running = subprocess.Popen(
        command(archive, tiny_bundle, address, "--shard-size", "1"),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = monotonic() + 60
    while not list((tmp_path / "ray").glob("radiographs/*/*")) and monotonic() < deadline:
        sleep(0.02)
    running.terminate()
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130, said
    assert "Stopped; the same command goes on from here." in said
    assert len(parquet(tmp_path / "ray")) < len(parquet(tmp_path / "local"))
    locally(archive, tmp_path / "ray", tiny_bundle, shard_size=1)
    assert parquet(tmp_path / "ray") == parquet(tmp_path / "local")


def test_where_no_gpu_is_to_be_had_it_says_so(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = ModelBundle.load(tiny_bundle)
    graph, compute = ray_engine.settle_on_ray(bundle, "auto")
    assert (list(graph.contents), compute.provider, compute.threads) == (["fp32"], "cpu", 1)
    monkeypatch.setattr(ray_engine, "PLACE_SECONDS", 1)
    with pytest.raises(EngineFailed, match="no GPU"):
        ray_engine.settle_on_ray(bundle, "cuda")


def test_without_the_extra_it_says_what_to_install(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "harvesting.ray_engine")
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["harvest", str(archive), "--out", str(tmp_path / "out"), "--engine", "ray"]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 2
    assert "This command needs ray: pip install 'cxr-localizer[ray]'." in refused.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "ray", "--address", "ray://head:10001"], "--address auto"),
        (["--engine", "ray", "--address", "127.0.0.1:1"], "Ray cannot be had at 127.0.0.1:1"),
        (["--address", "auto"], "--address is of --engine ray."),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(
    archive: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    words = ["harvest", str(archive), "--out", str(tmp_path / "out"), *options]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 2
    assert said in " ".join(refused.output.split())
