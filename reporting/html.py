"""A report as one HTML file: no script, and nothing from anywhere else."""

import base64
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reporting.content import DISCLAIMER, READING, TITLE, Head, Line, Refused, Sheet

CHUNK = 1024**2
"""Characters that are copied at a time."""

templates = Environment(
    loader=PackageLoader("reporting"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")


class HtmlReport:
    """Writes sheets as they come. See `reporting.report.Report`.

    Pictures wait on the disk, as the index stands before them: memory does not grow with them.
    """

    def __init__(self, file: Path, head: Head) -> None:
        self._open = ExitStack()
        self._file = self._open.enter_context(file.open("w", encoding="utf-8"))
        self._sheets = self._open.enter_context(
            tempfile.TemporaryFile("w+", encoding="utf-8", dir=file.parent)  # noqa: SIM115
        )
        self._head = head
        self._lines: list[Line] = []
        self._refused: list[Refused] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def add(self, sheet: Sheet) -> None:
        """Write one radiograph's sheet."""
        self._lines.append(Line(sheet.number, sheet.name, sheet.positive, len(sheet.warnings)))
        self._sheets.write(templates.get_template("sheet.html").render(sheet=sheet))

    def refuse(self, refused: Refused) -> None:
        """Remember a file for the index."""
        self._refused.append(refused)

    def finish(self) -> None:
        """Write head and index, then the sheets."""
        self._sheets.seek(0)
        page = templates.get_template("report.html").generate(
            title=TITLE,
            disclaimer=DISCLAIMER,
            reading=READING,
            style=Markup(templates.get_template("style.css").render()),
            head=self._head,
            lines=self._lines,
            refused=self._refused,
            sheets=self._chunks(),
        )
        self._file.writelines(page)

    def _chunks(self) -> Iterator[Markup]:
        while chunk := self._sheets.read(CHUNK):
            yield Markup(chunk)
