"""Marks of the shards that are being read: one that is there when a shard is begun says that the
last attempt did not come to its end, and that one of its files may be why."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fsspec.spec import AbstractFileSystem

from harvesting.items import join
from harvesting.storage import write

ATTEMPTS = "attempts"


@contextmanager
def attempt(files: AbstractFileSystem, root: str, shard: int) -> Iterator[bool]:
    """Mark a shard while it is read; gives whether an earlier attempt did not end."""
    earlier = begun(files, root, shard)
    write(files, _mark(root, shard), b"\n" * (earlier + 1))
    yield earlier > 0
    # Not where an exception leaves: the next attempt looks closer.
    forget(files, root, shard)


def begun(files: AbstractFileSystem, root: str, shard: int) -> int:
    """How many attempts at a shard were begun and did not end."""
    try:
        return int(files.size(_mark(root, shard)))
    except FileNotFoundError:
        return 0


def forget(files: AbstractFileSystem, root: str, shard: int) -> None:
    """Take a mark away, where there is one."""
    with suppress(FileNotFoundError):
        files.rm_file(_mark(root, shard))


def clear(files: AbstractFileSystem, root: str) -> None:
    """Take all marks away."""
    with suppress(FileNotFoundError):
        files.rm(join(root, ATTEMPTS), recursive=True)


def _mark(root: str, shard: int) -> str:
    return join(root, f"{ATTEMPTS}/{shard:05d}")
