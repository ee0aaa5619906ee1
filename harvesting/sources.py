"""Sources: what a harvest reads, as an ordered list of items."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from harvesting.archives import is_archive, members
from harvesting.items import (
    Item,
    in_unicode,
    is_hidden,
    join,
    looks_like_radiograph,
    suffix_of,
)
from harvesting.path_list import listed_paths
from harvesting.remote import named_errors, why, without_secrets

Kind = Literal["folder", "pattern", "list", "file"]


class SourceRefused(ValueError):
    """A source that is not there, or not one; the message says why."""


class SourceGone(OSError):
    """A source that was there and cannot be reached any more; the message says why."""


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
            OSError: its storage cannot be asked.
        """
        with named_errors(url):
            files, target = fsspec.core.url_to_fs(url)
            if files.isdir(target):
                return cls(url, files, "folder", target, target)
            there = files.exists(target)
        if there:
            return cls(url, files, _kind(url, target), target, target.rpartition("/")[0])
        if any(sign in target for sign in "*?["):
            return cls(url, files, "pattern", target, _fixed_part(target))
        raise SourceRefused(f"{url} is no folder, pattern, list, archive or radiograph.")

    def items(self, left_out: Counter[str] | None = None) -> Iterator[Item]:
        """All that it lists, in the same order each time: folders and patterns by name, lists and
        archives in their own order. Nothing comes twice.

        Args:
            left_out: counts the suffixes of files that no radiograph's name has.

        Raises:
            SourceRefused: a folder that cannot be listed.
            SourceGone: it cannot be reached any more.
            TableRefused: a list that is no CSV, or an empty one.
            OSError: its storage cannot be asked.
        """
        listing = _Listing(self, Counter() if left_out is None else left_out)
        with named_errors(self.url):
            yield from map(in_unicode, listing.items())

    def require_reachable(self) -> None:
        """Raises `SourceGone` where it is not there any more: its files are not missing then, they
        are out of reach."""
        try:
            with named_errors(self.url):
                gone = None if self._is_there() else "it is empty"
        except OSError as error:
            gone = why(error)
        if gone is not None:
            raise SourceGone(f"{without_secrets(self.url)} cannot be reached any more ({gone}).")

    def _is_there(self) -> bool:
        place = self.root if self.kind == "pattern" else self.target
        if isinstance(self.files, LocalFileSystem) and self.kind in ("folder", "pattern"):
            # What a file system was mounted on stays behind as an empty folder.
            return any(Path(place or "/").iterdir())
        self.files.invalidate_cache()
        return bool(self.files.info(place))

    def within(self, location: str) -> str:
        """A path of `files` as it is called within the source."""
        return location.removeprefix(self.root).lstrip("/")

    def locate(self, path: str) -> tuple[AbstractFileSystem, str]:
        """Where a path within the source lies. Lists may name absolute paths and URLs."""
        if "://" in path:
            files, location = fsspec.core.url_to_fs(path)
            return files, location
        absolute = self.kind == "list" and path.startswith("/")
        return self.files, path if absolute else join(self.root, path)


@dataclass(frozen=True)
class _Listing:
    source: Source
    left_out: Counter[str]

    @property
    def files(self) -> AbstractFileSystem:
        return self.source.files

    def items(self) -> Iterator[Item]:
        target = self.source.target
        if self.source.kind == "folder":
            return self._walk(target)
        if self.source.kind == "pattern":
            return self._matches(target)
        if self.source.kind == "list":
            return self._listed(target)
        return self._expand(self.source.within(target), None)

    def _walk(self, folder: str) -> Iterator[Item]:
        try:
            with named_errors(self.source.url):
                entries = self.files.ls(folder, detail=True)
        except OSError as error:
            if folder == self.source.target:
                raise SourceRefused(
                    f"{self.source.url} cannot be listed ({why(error)})."
                ) from error
            self.source.require_reachable()
            path = self.source.within(folder)
            yield Item(path, fault=f"The folder cannot be listed ({why(error)}).")
            return
        for entry in sorted(entries, key=lambda entry: entry["name"]):
            location = entry["name"].rstrip("/")
            if location != folder and not is_hidden(location.rpartition("/")[2]):
                yield from self._entry(location, entry)

    def _entry(self, location: str, entry: dict[str, Any]) -> Iterator[Item]:
        name = location.rpartition("/")[2]
        if entry["type"] == "directory":
            yield from self._walk(location)
        # A link to a file is as the file. One to a folder, which may lead around, is not followed.
        elif self._leads_away(entry):
            return
        elif _is_read(name):
            yield from self._expand(self.source.within(location), _size(entry))
        else:
            self.left_out[suffix_of(name)] += 1

    def _leads_away(self, entry: dict[str, Any]) -> bool:
        return bool(entry.get("islink")) and bool(self.files.isdir(entry["name"]))

    def _matches(self, pattern: str) -> Iterator[Item]:
        for location, entry in sorted(self.files.glob(pattern, detail=True).items()):
            path = self.source.within(location)
            if is_hidden(path):
                continue
            if entry["type"] != "file" and self.files.isdir(location):
                # `**` names a folder and what is in it.
                if "**" not in pattern:
                    yield from self._walk(location)
            else:
                yield from self._expand(path, _size(entry))

    def _listed(self, location: str) -> Iterator[Item]:
        with self.files.open(location, "rb") as file:
            for path in listed_paths(file, self.source.url):
                yield from self._expand(path, None)

    def _expand(self, path: str, size: int | None) -> Iterator[Item]:
        """A file, or the members of an archive. Without a size it may be anything, or nothing,
        which is found out when it is read."""
        if is_archive(path):
            files, location = self.source.locate(path)
            # A pipe would be waited for, for ever.
            if size is not None or files.isfile(location):
                for item in members(files, location, path, self.left_out):
                    if item.path == path:  # its own fault
                        self.source.require_reachable()
                    yield item
                return
        yield Item(path, size=size)


def _kind(url: str, target: str) -> Kind:
    if suffix_of(target) == ".csv":
        return "list"
    if _is_read(target.rpartition("/")[2]):
        return "file"
    raise SourceRefused(
        f"{url} is no radiograph and no archive, by its suffix. A list of paths is a CSV: name it "
        ".csv."
    )


def _is_read(name: str) -> bool:
    return is_archive(name) or looks_like_radiograph(name)


def _size(entry: dict[str, Any]) -> int | None:
    """Of a listed file; of links, pipes and devices None."""
    return int(entry["size"]) if entry["type"] == "file" else None


def _fixed_part(pattern: str) -> str:
    """The folder that a pattern's matches are all in."""
    parts = pattern.split("/")
    magic = next(k for k, part in enumerate(parts) if any(sign in part for sign in "*?["))
    return "/".join(parts[:magic])
