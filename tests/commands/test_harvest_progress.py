"""How far a harvest has come, as its command says it with and without a terminal."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from commands import progress
from commands.main import app


@pytest.fixture
def call(tmp_path: Path, tiny_bundle: Path) -> list[str]:
    """A harvest of six shards of one file each; one file is no radiograph."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for k in range(6):
        cv2.imwrite(str(folder / f"{k}.png"), np.full((64, 64), 99 + k, np.uint8))
    (folder / "3.png").write_text("no picture")
    call = ["harvest", folder, "--out", tmp_path / "out", "--model", tiny_bundle]
    return [str(part) for part in (*call, "--workers", 1, "--shard-size", 1, "--gate", "off")]


def test_without_a_terminal_there_is_a_line_now_and_then(
    call: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    said = CliRunner().invoke(app, call).stderr.splitlines()
    assert said[:6] == [f"Listing: {k} files found so far." for k in range(1, 7)]
    for k, line in enumerate(said[6:], start=1):
        failed = int(k > 3)
        assert re.fullmatch(
            rf"{k} of 6 files, \d+\.\d/s, {failed} failed, 0:\d\d:\d\d left\.", line
        )
    assert said[-1].endswith("0:00:00 left.")
    assert len(said) == 12


def test_a_short_run_says_none(call: list[str]) -> None:
    result = CliRunner().invoke(app, call)
    assert "5 of 6 files localized" in result.stdout
    assert result.stderr == ""


def test_a_resumed_run_counts_from_where_it_goes_on(
    call: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut_short:
        cut_short.setattr("harvesting.harvest.Sitting.hear", cut)
        assert CliRunner().invoke(app, call).exit_code == 130
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    said = CliRunner().invoke(app, call).stderr.splitlines()
    assert len(said) < 6
    assert said[-1].startswith("6 of 6 files")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What is drawn on a terminal in place of stderr."""
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=100)
    monkeypatch.setattr(progress, "_console", lambda: console)
    return drawn.getvalue


def test_on_a_terminal_both_are_drawn(
    call: list[str], terminal: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "DRAW_SECONDS", 0.0)
    result = CliRunner().invoke(app, call)
    assert result.stderr == ""
    assert "6 files found so far" in terminal()
    assert "6/6" in terminal()
    assert "1 failed" in terminal()
