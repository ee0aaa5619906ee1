"""The ends of a harvest are measured on what a harvest writes."""

import sys
from pathlib import Path

import pytest

from benchmark import harvest_ends
from harvesting.counting import count
from harvesting.tables import to_tables


def test_made_rows_are_as_many_as_is_said() -> None:
    counts = count(to_tables(harvest_ends._rows()))
    assert (counts.radiographs, counts.localized) == (256, 256)
    assert counts.findings / counts.radiographs == 0.75
    assert counts.boxes / counts.findings == pytest.approx(1.6, abs=0.01)
    assert counts.disagreements / counts.radiographs == 4


def test_it_prints_a_line_for_each_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["harvest_ends", "--files", "512"])
    harvest_ends.main()
    said = capsys.readouterr().out
    assert "Of 512 files, reckoned for a million." in said
    for name in ("listing", "exports", "report"):
        seconds = float(said.partition(f"| {name} | ")[2].partition(" ")[0].replace(",", ""))
        assert seconds > 0
    assert list(tmp_path.iterdir()) == []
