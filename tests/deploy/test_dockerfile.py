"""The Dockerfile, and the scripts that it puts into the image. scripts/image-check builds it."""

import http.server
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deploy_helpers import ROOT, SETTINGS, run_tool
from packaging.requirements import Requirement

IMAGE = ROOT / "deploy/image"


@pytest.mark.parametrize("file", ["Dockerfile", "deploy/image/tracing.Dockerfile"])
def test_dockerfiles_are_well_made(file: str) -> None:
    done = run_tool("hadolint", "--failure-threshold", "info", file, check=False)
    assert not done.stdout
    assert done.returncode == 0


def test_the_image_sets_settings_that_there_are() -> None:
    words = (ROOT / "Dockerfile").read_text().split()
    assigned = {word.partition("=")[0] for word in words if word.startswith("CXR_")}
    assert assigned
    assert assigned <= SETTINGS


def test_the_image_holds_all_of_the_project() -> None:
    """Else a command would be listed in it whose code is not there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = (ROOT / "Dockerfile").read_text().splitlines()
    let_in = (ROOT / ".dockerignore").read_text().splitlines()
    assert [name for name in packages if f"COPY {name} {name}" not in copied] == []
    assert [name for name in packages if f"!{name}" not in let_in] == []


def test_what_traces_need_is_that_of_the_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {
        Requirement(each).name for each in project["project"]["optional-dependencies"]["tracing"]
    }
    (install,) = re.findall(
        r"^RUN pip install .* test\.txt (.+)$",
        (IMAGE / "tracing.Dockerfile").read_text(),
        re.MULTILINE,
    )
    assert set(install.split()) == needed


def _enter(user: int, temporary: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the image's entry point as if by a user."""
    program = folder / "id"
    program.write_text(f"#!/bin/sh\necho {user}\n")
    program.chmod(0o755)
    return subprocess.run(
        [IMAGE / "entrypoint", "echo", "started"],
        env={"PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": temporary},
        capture_output=True,
        text=True,
    )


def test_it_starts_as_any_user_but_root(tmp_path: Path) -> None:
    assert _enter(10001, str(tmp_path), tmp_path).stdout == "started\n"
    refused = _enter(0, str(tmp_path), tmp_path)
    assert (refused.returncode, refused.stdout) == (64, "")
    assert "does not run as root" in refused.stderr


def test_it_says_where_it_has_to_write(tmp_path: Path) -> None:
    refused = _enter(10001, str(tmp_path / "nowhere"), tmp_path)
    assert (refused.returncode, refused.stdout) == (64, "")
    assert f"{tmp_path}/nowhere cannot be written" in refused.stderr


@contextmanager
def _service(status: int) -> Iterator[int]:
    """The port of something that answers /readyz with a status."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def _health(port: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-IS", IMAGE / "healthcheck"],
        env={"CXR_PORT": str(port)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1)])
def test_it_is_healthy_where_it_is_ready(status: int, expected: int) -> None:
    with _service(status) as port:
        assert _health(port).returncode == expected


def test_it_is_not_healthy_where_no_one_answers() -> None:
    with _service(200) as port:
        pass
    silent = _health(port)
    assert silent.returncode == 1
    assert silent.stderr.startswith("no answer")


def test_libraries_lose_their_tests_and_keep_their_code(tmp_path: Path) -> None:
    for file in ("numpy/core.py", "numpy/tests/test_core.py", "onnxruntime/capi/state.so"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    subprocess.run([IMAGE / "slim-libraries", tmp_path], check=True)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"numpy/core.py", "onnxruntime/capi/state.so"}


def test_nothing_to_train_with_gets_into_the_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored  # Only what is named is let in,
    assert {"models/**/*.pth", "models/stages"} <= set(ignored)  # and of the models not this.
