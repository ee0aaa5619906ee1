"""Tables that people give: lists of paths, image labels."""

import csv
import io
from collections.abc import Iterator
from typing import IO


class TableRefused(ValueError):
    """A file that is no CSV; the message names it."""


def csv_lines(file: IO[bytes], url: str) -> Iterator[list[str]]:
    """The lines of a CSV in UTF-8, as they are asked for; the file is closed with them.

    Raises:
        TableRefused: it is none.
    """
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        lines = csv.reader(text)
        try:
            yield from lines
        except (UnicodeDecodeError, csv.Error) as error:
            raise TableRefused(
                f"{url} is no CSV in UTF-8, from line {lines.line_num + 1} on."
            ) from error
