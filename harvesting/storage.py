"""Writing what may be cut at any moment: a file is there whole, or not at all."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from harvesting.rows import Rows
from harvesting.tables import TABLES, Table, part, to_tables


def write(files: AbstractFileSystem, path: str, content: bytes) -> None:
    """Write a file; whoever reads meanwhile sees the old one, or none. A failed power supply, too,
    leaves one or the other on a local disk; object stores publish an upload once it is complete.
    """
    if not isinstance(files, LocalFileSystem):
        files.pipe_file(path, content)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(target)


def write_shard(
    files: AbstractFileSystem, root: str, shard: int, rows: Rows
) -> dict[Table, pa.Table]:
    """Write a shard's tables; the radiographs, which say that it is complete, last."""
    tables = to_tables(rows)
    for name in TABLES:
        write(files, f"{root}/{part(name, shard)}", _parquet(tables[name]))
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
