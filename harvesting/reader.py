"""The bytes of a source's items."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from harvesting.archives import BROKEN, OpenArchive
from harvesting.items import LARGEST, Item, ItemUnreadable
from harvesting.remote import named_errors, why
from harvesting.sources import Source


class Reader:
    """Reads items of a source. Safe to share between threads, which take turns at archives: one
    is kept open, and a compressed tar is read on from where it is."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = Lock()
        self._open: tuple[str, OpenArchive] | None = None

    def read(self, item: Item) -> bytes:
        """An item's bytes, which do not depend on what was read before.

        Raises:
            ItemUnreadable: `missing`, `unreadable` or `too-large`.
        """
        if item.fault is not None:
            raise ItemUnreadable("unreadable", item.fault)
        try:
            with named_errors(item.path):
                return self._bytes(item)
        except FileNotFoundError as error:
            raise ItemUnreadable("missing", "There is no such file.") from error
        except BROKEN as error:
            raise ItemUnreadable(
                "unreadable", f"The file cannot be read ({why(error)})."
            ) from error

    def _bytes(self, item: Item) -> bytes:
        if item.archive is None:
            return self._file(item)
        _check_size(item.size)
        with self._lock:
            return self._member(item, item.archive)

    def _file(self, item: Item) -> bytes:
        files, location = self._source.locate(item.path)
        size = item.size
        if size is None:
            about = files.info(location)
            # A pipe or a device would be waited for, for ever.
            if about["type"] != "file":
                raise ItemUnreadable("unreadable", "It is no file.")
            size = about["size"]
        _check_size(size)
        return bytes(files.cat_file(location))

    def _member(self, item: Item, path: str) -> bytes:
        if self._open is None or self._open[0] != path:
            self.close()
            self._open = (path, OpenArchive(*self._source.locate(path)))
        archive = self._open[1]
        try:
            return archive.read(item)
        except ItemUnreadable:
            # Where a decompressor stands after an error, no one can say.
            if archive.onwards:
                self.close()
            raise

    def close(self) -> None:
        """Let go of what is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


class Readers:
    """Readers of one source, each lent to one thread at a time. What a reader has open stays open
    until its next borrower needs something else."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = Lock()
        self._idle: list[Reader] = []

    @contextmanager
    def lend(self) -> Iterator[Reader]:
        """A reader that no one else has meanwhile."""
        with self._lock:
            reader = self._idle.pop() if self._idle else Reader(self._source)
        try:
            yield reader
        finally:
            with self._lock:
                self._idle.append(reader)

    def close(self) -> None:
        """Let go of what idle readers have open."""
        with self._lock:
            for reader in self._idle:
                reader.close()


def _check_size(size: int | None) -> None:
    if size is not None and size > LARGEST:
        raise ItemUnreadable(
            "too-large", f"The file has {size} bytes, more than the {LARGEST} that are read."
        )
