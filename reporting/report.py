"""A report from its first file to its last."""

from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from localization import Localizer, Policy, Radiograph, RadiographRefused
from reporting.content import Head, Refused, Sheet, describe, describe_model, printable, refuse
from reporting.html import HtmlReport
from reporting.pdf import PdfReport

LARGEST_FILE = 512 * 1024**2
"""Bytes. A folder may hold anything; what is larger is no radiograph, and is not read."""


class Report(Protocol):
    """A report that is being written."""

    def add(self, sheet: Sheet) -> None:
        """Take one radiograph's sheet."""

    def refuse(self, refused: Refused) -> None:
        """Take a file that has none."""

    def finish(self) -> None:
        """Write all that is left."""


FORMATS: dict[str, Callable[[Path, Head], AbstractContextManager[Report]]] = {
    ".html": HtmlReport,
    ".pdf": PdfReport,
}


def write_report(
    output: Path,
    files: Iterable[Path],
    localizer: Localizer,
    diseases: Collection[str] | None = None,
    policy: Policy = "refuse",
) -> list[Refused]:
    """Write what a model says of radiographs.

    Args:
        output: an HTML or PDF file, by its suffix; there only once it is complete.
        files: of radiographs; they are called by their paths, as these are given.
        localizer: says it.
        diseases: the findings to speak of; all where it is None.
        policy: towards what is no frontal chest radiograph.

    Returns:
        The files that could not be localized; the report names them.

    Raises:
        ValueError: ``output`` ends in no suffix of `FORMATS`.
        OSError: it cannot be written.
    """
    if output.suffix.lower() not in FORMATS:
        raise ValueError(f"{output}: a report ends in {' or '.join(FORMATS)}.")
    head = describe_model(localizer, datetime.now().astimezone())
    unfinished = output.with_name(f".{output.name}.unfinished")
    refused: list[Refused] = []
    try:
        with FORMATS[output.suffix.lower()](unfinished, head) as report:
            count = 0
            for file in files:
                name = printable(str(file))
                try:
                    sheet = _sheet(count + 1, name, file, localizer, diseases, policy)
                except (OSError, RadiographRefused) as error:
                    refused.append(refuse(name, error))
                    report.refuse(refused[-1])
                else:
                    count += 1
                    report.add(sheet)
            report.finish()
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
    return refused


def _sheet(
    number: int,
    name: str,
    file: Path,
    localizer: Localizer,
    diseases: Collection[str] | None,
    policy: Policy,
) -> Sheet:
    if file.stat().st_size > LARGEST_FILE:
        raise RadiographRefused(
            "too-large", f"The file is larger than {LARGEST_FILE} bytes; no radiograph is."
        )
    radiograph = Radiograph.read(file.read_bytes(), policy=policy)
    return describe(number, name, radiograph, localizer.localize(radiograph, policy), diseases)
