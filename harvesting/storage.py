"""Writing what may be cut at any moment: a file is there whole, or not at all."""

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
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def write_shard(
    files: AbstractFileSystem, root: str, shard: int, rows: Rows
) -> dict[Table, pa.Table]:
    """Write a shard's tables; the radiographs, which say that it is complete, last."""
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
