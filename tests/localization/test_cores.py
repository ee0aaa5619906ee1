"""The cores that a process may use, in a container too."""

import os
from pathlib import Path

import pytest

from localization.cores import cores


@pytest.mark.parametrize(
    ("quota", "most"), [("max 100000", 4), ("150000 100000", 2), ("50000 100000", 1)]
)
def test_a_containers_limit_of_cpu_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, most: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(4))
    (tmp_path / "cpu.max").write_text(quota)
    assert cores(tmp_path) == most


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "most"), [("-1\n", 4), ("150000\n", 2), ("50000\n", 1)])
def test_a_limit_of_version_1_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, quota: str, most: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(4))
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / folder / "cpu.cfs_period_us").write_text("100000\n")
    assert cores(tmp_path) == most
