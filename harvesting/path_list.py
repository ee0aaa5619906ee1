"""Lists of paths: a CSV, with a header or without."""

from collections.abc import Iterator
from itertools import chain
from typing import IO

from harvesting.table import TableRefused, csv_lines

HEADINGS = ("path", "file", "filename", "image", "image index")
"""Of the column of paths, in any case; of several, the first of these counts."""


def listed_paths(file: IO[bytes], url: str) -> Iterator[str]:
    """The paths of a list, each once, as they are asked for; the file is closed with them.

    A header is a first line that has one of `HEADINGS`; any other first line is a path, too, and
    then the paths are in the first column.

    Raises:
        TableRefused: it is no CSV, or an empty one.
    """
    lines = csv_lines(file, url)
    head = next(lines, None)
    if head is None:
        raise TableRefused(f"{url} is empty.")
    column = _column(head)
    first = [head] if column is None else []
    seen: set[str] = set()
    for line in chain(first, lines):
        path = _cell(line, column or 0).removeprefix("./")
        if path and path not in seen:
            seen.add(path)
            yield path


def _column(head: list[str]) -> int | None:
    """The column that holds the paths; None where a first line is no header."""
    names = [name.strip().lower() for name in head]
    return next((names.index(heading) for heading in HEADINGS if heading in names), None)


def _cell(line: list[str], column: int) -> str:
    return line[column].strip() if len(line) > column else ""
