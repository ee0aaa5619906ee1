"""ONNX Runtime's wheels report to their maker by default, and keep an id of the machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _import(modules: str, home: Path) -> None:
    # Nothing of this environment: a CI variable, too, keeps ONNX Runtime silent.
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    subprocess.run(
        [sys.executable, "-c", f"import {modules}"], cwd=ROOT, env=environment, check=True
    )


@pytest.mark.parametrize("module", ["localization", "service.server", "service.lifecycle"])
def test_nothing_is_kept_for_the_maker_of_the_runtime(module: str, tmp_path: Path) -> None:
    _import(module, tmp_path)
    assert not list(tmp_path.rglob("*"))


def test_the_runtime_alone_keeps_an_id(tmp_path: Path) -> None:
    """Else the test above shows nothing any more."""
    _import("onnxruntime", tmp_path)
    assert list(tmp_path.rglob("deviceid"))
