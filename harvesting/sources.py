"""Sources: what a harvest reads, as an ordered list of items."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self

import fsspec
from fsspec.spec import AbstractFileSystem

from harvesting.archives import is_archive, members
from harvesting.items import (
    SUFFIXES,
    Item,
    in_unicode,
    is_hidden,
    join,
    looks_like_radiograph,
    suffix_of,
)
from harvesting.table import csv_lines

Kind = Literal["folder", "pattern", "list", "file"]


class SourceRefused(ValueError):
    """A source that is not there, or not one; the message says why."""


@dataclass(frozen=True)
class Source:
    """A folder, a pattern, a list of paths or a file, where fsspec can read. Archives are as
    folders, wherever they are."""

    url: str
    files: AbstractFileSystem
    kind: Kind
    target: str
    """Of the URL, in `files`."""
    root: str
    """What paths are relative to."""

    @classmethod
    def open(cls, url: str) -> Self:
        """Find out what a path or URL names.

        Raises:
            SourceRefused: nothing is there.
        """
        files, target = fsspec.core.url_to_fs(url)
        parent = target.rpartition("/")[0]
        if files.isdir(target):
            return cls(url, files, "folder", target, target)
        if files.exists(target):
            listed = suffix_of(target) == ".csv"
            return cls(url, files, "list" if listed else "file", target, parent)
        if any(sign in target for sign in "*?["):
            return cls(url, files, "pattern", target, _fixed_part(target))
        raise SourceRefused(f"{url} is no folder, pattern, list, archive or radiograph.")

    def items(self) -> Iterator[Item]:
        """All that it lists, in the same order each time: folders and patterns by name, lists and
        archives in their own order. Nothing comes twice.

        Raises:
            SourceRefused: a list that holds no paths.
            TableRefused: a list that is no CSV.
        """
        return map(in_unicode, self._found())

    def _found(self) -> Iterator[Item]:
        if self.kind == "folder":
            return self._walk(self.target)
        if self.kind == "pattern":
            return self._matches()
        if self.kind == "list":
            return self._listed()
        return self._expand(self._within(self.target), None)

    def _walk(self, folder: str) -> Iterator[Item]:
        try:
            entries = sorted(self.files.ls(folder, detail=True), key=lambda entry: entry["name"])
        except OSError as error:
            yield Item(self._within(folder), fault=f"The folder cannot be listed ({why(error)}).")
            return
        for entry in entries:
            location = entry["name"].rstrip("/")
            if location != folder and not is_hidden(location.rpartition("/")[2]):
                yield from self._entry(location, entry)

    def _entry(self, location: str, entry: dict[str, Any]) -> Iterator[Item]:
        name = location.rpartition("/")[2]
        if entry["type"] == "directory":
            yield from self._walk(location)
        # A link to a file is as the file. One to a folder, which may lead around, is not followed.
        elif (is_archive(name) or looks_like_radiograph(name)) and not self._leads_away(entry):
            yield from self._expand(self._within(location), _size(entry))

    def _leads_away(self, entry: dict[str, Any]) -> bool:
        return bool(entry.get("islink")) and bool(self.files.isdir(entry["name"]))

    def _matches(self) -> Iterator[Item]:
        for location, entry in sorted(self.files.glob(self.target, detail=True).items()):
            path = self._within(location)
            if is_hidden(path):
                continue
            if entry["type"] != "file" and self.files.isdir(location):
                # `**` names a folder and what is in it.
                if "**" not in self.target:
                    yield from self._walk(location)
            else:
                yield from self._expand(path, _size(entry))

    def _listed(self) -> Iterator[Item]:
        with self.files.open(self.target, "rb") as file:
            lines = csv_lines(file, self.url)
            head = next(lines, None)
            if head is None:
                raise SourceRefused(f"{self.url} is empty.")
            names = [name.strip().lower() for name in head]
            column = names.index("path") if "path" in names else 0
            # A list may begin without a header.
            first = [head] if head and suffix_of(head[0].strip()) in SUFFIXES else []
            seen: set[str] = set()
            for line in (*first, *lines):
                path = line[column].strip().removeprefix("./") if len(line) > column else ""
                if path and path not in seen:
                    seen.add(path)
                    yield from self._expand(path, None)

    def _expand(self, path: str, size: int | None) -> Iterator[Item]:
        """A file, or the members of an archive. Without a size it may be anything, or nothing,
        which is found out when it is read."""
        if is_archive(path):
            files, location = self.locate(path)
            # A pipe would be waited for, for ever.
            if size is not None or files.isfile(location):
                yield from members(files, location, path)
                return
        yield Item(path, size=size)

    def _within(self, location: str) -> str:
        return location.removeprefix(self.root).lstrip("/")

    def locate(self, path: str) -> tuple[AbstractFileSystem, str]:
        """Where a path within the source lies. Lists may name absolute paths and URLs."""
        if "://" in path:
            files, location = fsspec.core.url_to_fs(path)
            return files, location
        absolute = self.kind == "list" and path.startswith("/")
        return self.files, path if absolute else join(self.root, path)


def _size(entry: dict[str, Any]) -> int | None:
    """Of a listed file; of links, pipes and devices None."""
    return int(entry["size"]) if entry["type"] == "file" else None


def _fixed_part(pattern: str) -> str:
    """The folder that a pattern's matches are all in."""
    parts = pattern.split("/")
    magic = next(k for k, part in enumerate(parts) if any(sign in part for sign in "*?["))
    return "/".join(parts[:magic])


def why(error: Exception) -> str:
    """What failed, without the path that its message may quote."""
    return getattr(error, "strerror", None) or type(error).__name__
