"""Which files a report is of: those named, and those in folders and behind patterns."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def find_files(given: Sequence[Path]) -> list[Path]:
    """The files that are meant, each once, in the order given; those of a folder by name.

    A folder stands for all files in it and below it, but for hidden ones. A name that is no file's
    may be a pattern, as `ward*/*.dcm` or `**/*.png`. What is not there stays, to be refused.
    """
    return list(dict.fromkeys(file for each in given for file in _files(each)))


def _files(given: Path) -> Iterator[Path]:
    if given.is_dir():
        yield from _below(given)
    elif given.exists() or not glob.has_magic(str(given)):
        yield given
    else:
        matches = sorted(Path(match) for match in glob.iglob(str(given), recursive=True))
        # A folder that a pattern meets brings its files; none that match are refused by its name.
        yield from (file for match in matches or [given] for file in _matched(match))


def _matched(match: Path) -> Iterator[Path]:
    yield from _below(match) if match.is_dir() else [match]


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = Path(parent, name)
            if not name.startswith(".") and file.is_file():  # no pipe, no socket
                yield file
