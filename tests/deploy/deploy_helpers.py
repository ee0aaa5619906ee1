"""The tools that read deployments' files, as the tests' own packages bring them."""

import os
import subprocess
import sys
from pathlib import Path

from service.settings import Settings

ROOT = Path(__file__).parents[2]

SETTINGS = {f"CXR_{name.upper()}" for name in Settings.model_fields}


def run_tool(
    tool: str, *arguments: str, check: bool = True, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a program of this test environment in the repository's root."""
    program = Path(sys.executable).with_name(tool)
    return subprocess.run(
        [program, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=check,
        timeout=50,
    )


def seconds(duration: str) -> int:
    """The seconds of a duration such as Compose writes it."""
    minutes, _, rest = duration.rpartition("m")
    return 60 * int(minutes or 0) + int(rest.removesuffix("s") or 0)
