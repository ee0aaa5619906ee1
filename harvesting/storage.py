"""Writing what may be cut at any moment: a file is there whole, or not at all."""

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from harvesting.items import join
from harvesting.rows import Rows
from harvesting.tables import TABLES, Table, part, to_tables


def write(files: AbstractFileSystem, path: str, content: bytes) -> None:
    """Write a file; whoever reads meanwhile sees the old one, or none. A failed power supply, too,
    leaves one or the other on a local disk; object stores publish an upload once it is complete.
    """
    if isinstance(files, LocalFileSystem):
        _write_local(Path(path), [content])
    else:
        files.pipe_file(path, content)


def write_stream(files: AbstractFileSystem, path: str, chunks: Iterable[bytes]) -> None:
    """Write a file as `write` does, without holding it in memory. On its way to another file
    system it lies in a temporary file: an upload that is cut would publish what there is of it.
    """
    if isinstance(files, LocalFileSystem):
        _write_local(Path(path), chunks)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.writelines(chunks)
        file.flush()
        files.put_file(file.name, path)


def _write_local(target: Path, chunks: Iterable[bytes]) -> None:
    _make(target.parent)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
        _sync(target.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def _make(folder: Path) -> None:
    """A folder, and those that it is in, whose names are on the disk once this returns."""
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Bring a folder's names to the disk: a file's own bytes do not take its name with them."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems know no such thing, and keep names as they see fit.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def write_shard(
    files: AbstractFileSystem, root: str, shard: int, rows: Rows
) -> dict[Table, pa.Table]:
    """Write a shard's tables; it is complete with the last of them, the radiographs."""
    tables = to_tables(rows)
    for name in TABLES:
        write(files, join(root, part(name, shard)), _parquet(tables[name]))
    return tables


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def sweep(files: AbstractFileSystem, root: str) -> None:
    """Take away what writers left that were cut."""
    if isinstance(files, LocalFileSystem):
        for unfinished in Path(root).rglob(".*.unfinished"):
            unfinished.unlink(missing_ok=True)
