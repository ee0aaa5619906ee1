"""Tar and zip archives of radiographs: what they hold, and the bytes of a member.

An archive is never unpacked, nor held in memory. A tar's members are read where they lie; a
compressed tar is read onwards, so members are best asked for in their order.
"""

import lzma
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from fsspec.spec import AbstractFileSystem

from harvesting.items import (
    LARGEST,
    Item,
    ItemUnreadable,
    is_hidden,
    looks_like_radiograph,
    suffix_of,
    unicode_name,
)
from harvesting.remote import named_errors
from harvesting.tar_links import TarLinks

TARS = {".tar": None, ".tar.gz": "gzip", ".tgz": "gzip", ".tar.bz2": "bz2", ".tar.xz": "xz"}
"""Suffixes of tars, and how each is compressed."""

BROKEN = (
    EOFError,
    LookupError,
    OSError,
    RuntimeError,  # a member is encrypted; NotImplementedError: packed in an unknown way
    ValueError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What `tarfile` and `zipfile` raise of an archive that is not whole."""


def is_archive(name: str) -> bool:
    """Whether a file is an archive, by its suffix."""
    return _is_zip(name) or _tar_suffix(name) is not None


def reads_onwards(name: str) -> bool:
    """Whether an archive can only be read onwards, by its suffix: it is compressed as a whole."""
    return not _is_zip(name) and _compression(name) is not None


def members(
    files: AbstractFileSystem, location: str, path: str, left_out: Counter[str]
) -> Iterator[Item]:
    """The radiographs of an archive, in its order; of several with one name, the last. A tar's
    link is as the member that it leads to, and comes beside it.

    Where the archive ends too early, what was found, and an item for the archive with its fault.

    Args:
        files: that hold the archive.
        location: of it in them.
        path: of it within the source.
        left_out: counts the suffixes of its other files.
    """
    found: dict[str, Item] = {}
    fault, links = None, TarLinks()
    entries = _zip_entries if _is_zip(location) else partial(_tar_entries, links=links)
    try:
        with named_errors(path):
            for name, offset, size in entries(files, location):
                _take(found, path, name, left_out, offset=offset, size=size)
    except BROKEN as error:
        fault = f"The archive cannot be listed to its end ({type(error).__name__})."
    for name, place in links.resolved():
        if place is None:
            _take(found, path, name, left_out, fault="It is a link to no file of the archive.")
        else:
            _take(found, path, name, left_out, offset=place.offset, size=place.size)
    # A compressed tar is read onwards.
    yield from sorted(found.values(), key=lambda item: item.offset or 0)
    if fault is not None:
        yield Item(path, fault=fault)


def _take(
    found: dict[str, Item], archive: str, name: str, left_out: Counter[str], **about: Any
) -> None:
    name = unicode_name(name.removeprefix("./"))
    if is_hidden(name):
        return
    if not looks_like_radiograph(name.rpartition("/")[2]):
        left_out[suffix_of(name)] += 1
        return
    # Taken out first, so that it comes where its bytes are.
    found.pop(name, None)
    found[name] = Item(f"{archive}/{name}", archive, **about)


def _zip_entries(files: AbstractFileSystem, location: str) -> Iterator[tuple[str, int | None, int]]:
    """Name, no offset, and size of each file."""
    with files.open(location, "rb") as file, zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():
                yield entry.filename, None, entry.file_size


def _tar_entries(
    files: AbstractFileSystem, location: str, links: TarLinks
) -> Iterator[tuple[str, int | None, int]]:
    """Name, offset and size of each file, and of each link whose file has come before."""
    with (
        files.open(location, "rb", compression=_compression(location)) as file,
        tarfile.open(fileobj=file, mode="r:") as archive,
    ):
        for member in archive:
            place = links.see(member)
            if place is not None:
                yield member.name, place.offset, place.size


class OpenArchive:
    """One archive, open."""

    def __init__(self, files: AbstractFileSystem, location: str) -> None:
        self._zip: zipfile.ZipFile | None = None
        self.onwards = reads_onwards(location)
        """Whether what lies further back is read from the start."""
        compression = _compression(location) if self.onwards else None
        self._file: Any = files.open(location, "rb", compression=compression)
        if _is_zip(location):
            try:
                self._zip = zipfile.ZipFile(self._file)
            except BROKEN:
                self._file.close()
                raise

    def read(self, item: Item) -> bytes:
        """A member's bytes.

        Raises:
            ItemUnreadable: the archive does not give them.
        """
        try:
            data = self._read(item)
        except BROKEN as error:
            raise ItemUnreadable(
                "unreadable", f"The archive does not give it ({type(error).__name__})."
            ) from error
        if item.size is not None and len(data) < item.size:
            raise ItemUnreadable("unreadable", "The archive ends before its last byte.")
        return data

    def _read(self, item: Item) -> bytes:
        if self._zip is not None:
            assert item.archive is not None
            with self._member(item.path.removeprefix(f"{item.archive}/")) as member:
                return bytes(member.read(LARGEST))
        self._file.seek(item.offset)
        return bytes(self._file.read(item.size))

    def _member(self, name: str) -> Any:
        assert self._zip is not None
        try:
            return self._zip.open(name)
        except KeyError:
            return self._zip.open(f"./{name}")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _tar_suffix(name: str) -> str | None:
    return next((suffix for suffix in TARS if name.lower().endswith(suffix)), None)


def _compression(name: str) -> str | None:
    return TARS[_tar_suffix(name) or ".tar"]
