"""Files that are read for ever, and sources that go away."""

import shutil
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from harvest_helpers import HangingFiles, fill, harvest, png, rows

from harvesting.items import Item
from harvesting.limits import SLOWEST, Limits
from harvesting.local import EngineFailed, local_engine
from harvesting.processes import WorkFailed

IMPATIENT = Limits(start=8, together=0, alone=4)


def test_a_file_that_hangs_is_a_row_and_costs_no_other(tmp_path: Path, tiny_bundle: Path) -> None:
    folder = fill(tmp_path / "archive", 40)
    clean = rows(harvest(folder, tmp_path / "clean", tiny_bundle))
    hanger = folder / "00020-hanger.png"
    hanger.write_bytes(png())
    slow: dict[str, Any] = {"files": HangingFiles(), "limits": IMPATIENT, "shard_size": 15}
    found = rows(harvest(folder, tmp_path / "out", tiny_bundle, **slow))
    [late] = [row for row in found["radiographs"] if row.outcome == "failed"]
    assert (late.path, late.reason) == (hanger.name, "timed-out")
    assert late.detail == "It could not be read and decoded within 4 seconds."
    assert [row for row in found["radiographs"] if row != late] == clean["radiographs"]
    assert found["findings"] == clean["findings"]
    assert active_children() == []


def test_a_shard_that_hangs_where_no_file_does_stops_the_run(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    folder = fill(tmp_path / "archive", 3)
    with pytest.raises(EngineFailed, match=r"brought down 3 workers.*no answer for too long"):
        harvest(folder, tmp_path / "out", tiny_bundle, limits=Limits(start=0, together=0, alone=0))
    assert active_children() == []


def test_limits_grow_with_files_their_size_and_what_lies_before_them() -> None:
    limits = Limits(start=100, together=1, alone=10)
    small, large = Item("a.png", size=0), Item("b.png", size=7 * SLOWEST)
    assert limits.of_item(small) == 10
    assert limits.of_item(large) == 17
    assert limits.of_shard([small, large], 0) == 100 + 2 + 7
    assert limits.of_shard([small, large], 2) == 100 + 2 * 27
    # A compressed tar is decompressed up to the member; other archives are not.
    far = Item("m.tar.gz/c.png", "m.tar.gz", offset=50 * SLOWEST, size=0)
    assert limits.of_item(far) == 60
    assert limits.of_shard([far, far], 0) == 100 + 2 + 50
    for other in ("m.tar", "m.zip"):
        assert limits.of_item(replace(far, archive=other)) == 10


class Vanishing(LocalFileSystem):
    """The whole folder is gone once a file whose name says so is read; or only its content."""

    def __init__(self, mount_stays: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mount_stays = mount_stays

    def cat_file(self, path: str, start: Any = None, end: Any = None, **kwargs: Any) -> bytes:
        if "last" in path:
            folder = Path(path).parent
            shutil.rmtree(folder, ignore_errors=True)
            if self.mount_stays:
                folder.mkdir(exist_ok=True)
        content: bytes = super().cat_file(path, start, end, **kwargs)
        return content


@pytest.mark.parametrize("mount_stays", [False, True])
def test_a_source_that_goes_away_stops_the_run_which_goes_on_once_it_is_back(
    tmp_path: Path, tiny_bundle: Path, mount_stays: bool
) -> None:
    folder = fill(tmp_path / "archive", 30)
    (folder / "00015-last.png").write_bytes(png())
    whole = shutil.copytree(folder, tmp_path / "whole")
    out, one = tmp_path / "out", {"engine": local_engine(1), "shard_size": 10}
    with pytest.raises(WorkFailed) as failed:
        harvest(folder, out, tiny_bundle, files=Vanishing(mount_stays), **one)
    why = "it is empty" if mount_stays else "No such file or directory"
    assert str(failed.value) == (
        f"{folder} cannot be reached any more ({why}). "
        "Once it is there again, the same command goes on."
    )
    assert sorted(path.name for path in (out / "radiographs").iterdir()) == ["shard=00000"]
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    found = rows(harvest(folder, out, tiny_bundle, **one))
    assert len(found["radiographs"]) == 31
    assert {row.outcome for row in found["radiographs"]} == {"localized"}


def test_files_that_are_gone_are_rows_while_the_source_is_there(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    folder = fill(tmp_path / "archive", 5)
    for k in range(5, 8):
        (folder / f"{k:05d}.png").symlink_to(folder / "nowhere")
    found = rows(harvest(folder, tmp_path / "out", tiny_bundle, shard_size=3))
    assert [row.reason for row in found["radiographs"]] == [None] * 5 + ["missing"] * 3
