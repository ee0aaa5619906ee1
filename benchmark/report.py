"""Markdown: tables, the machine, and where they are written."""

import math
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from localization.cores import cores

PACKAGES = (
    "onnxruntime",
    "opencv-python-headless",
    "pillow",
    "pydicom",
    "fastapi",
    "uvicorn",
    "litserve",
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(packages: Sequence[str] = PACKAGES) -> str:
    """The processor and the versions, in one sentence."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    name = cpu[1].strip() if cpu else platform.machine()
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{name}, {cores()} cores; Python {platform.python_version()}, {versions}."


class Page:
    """The part of a Markdown file between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no such part.
    """

    def __init__(self, file: Path, name: str) -> None:
        self._file = file
        self._begin, self._end = f"<!-- {name} -->", f"<!-- /{name} -->"
        self._split()

    def write(self, content: str) -> None:
        """Put content there, in place of what was; all around it stays."""
        before, after = self._split()
        self._file.write_text(f"{before}{self._begin}\n\n{content}\n\n{self._end}{after}")

    def _split(self) -> tuple[str, str]:
        before, begins, rest = self._file.read_text().partition(self._begin)
        _, ends, after = rest.partition(self._end)
        if not (begins and ends):
            raise ValueError(f"{self._file} has no part from {self._begin} to {self._end}.")
        return before, after


def number(value: float, digits: int = 1) -> str:
    """A figure as a table shows it."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
