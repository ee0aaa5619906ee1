"""The plan: all items of a run in their order, in shards; written before the first is read.

plan.parquet       one row per item, one row group per shard
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.spec import AbstractFileSystem

from harvesting.items import Item, join
from harvesting.storage import write

PLAN = "plan.parquet"

_DISEASES = pa.list_(pa.dictionary(pa.int8(), pa.string()))
"""A byte for each: a table of labels may leave most of them open."""

SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        ("archive", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("fault", pa.string()),
        ("labels", _DISEASES),
        ("unknown", _DISEASES),
    ]
)

ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a run: what is done, written and done again as a whole."""

    number: int
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Plan:
    """The items of a run, as columns: an archive's are too many for objects."""

    table: pa.Table
    shard_size: int

    @classmethod
    def of(cls, items: Iterable[Item], shard_size: int) -> Self:
        """Plan items in their order."""
        batches = [
            pa.RecordBatch.from_pylist([asdict(item) for item in some], schema=SCHEMA)
            for some in _batched(items, ROWS_AT_ONCE)
        ]
        return cls(pa.Table.from_batches(batches, SCHEMA), shard_size)

    @classmethod
    def read(cls, files: AbstractFileSystem, root: str, shard_size: int) -> Self:
        """Read a run's plan. Raises `FileNotFoundError` where there is none."""
        with files.open(join(root, PLAN), "rb") as file:
            return cls(pq.read_table(file), shard_size)

    def write(self, files: AbstractFileSystem, root: str) -> None:
        """Write it into a data set."""
        sink = pa.BufferOutputStream()
        pq.write_table(self.table, sink, row_group_size=self.shard_size, compression="zstd")
        write(files, join(root, PLAN), bytes(sink.getvalue()))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def shards(self) -> int:
        """How many there are."""
        return -(-len(self) // self.shard_size)

    @property
    def labelled(self) -> int:
        """How many items have labels."""
        return int(len(self) - self.table["labels"].null_count)

    def item(self, path: str) -> Item:
        """The item of a row's path. Raises `FileNotFoundError` where there is none."""
        row = self.table["path"].index(path).as_py()
        if row < 0:
            raise FileNotFoundError(path)
        return _item(self.table.slice(row, 1).to_pylist()[0])

    def shard(self, number: int) -> Shard:
        """The items of one."""
        rows = self.table.slice(number * self.shard_size, self.shard_size).to_pylist()
        return Shard(number, tuple(_item(row) for row in rows))


def _item(row: dict[str, Any]) -> Item:
    labels, unknown = row.pop("labels"), row.pop("unknown")
    return Item(**row, labels=None if labels is None else tuple(labels), unknown=tuple(unknown))


def _batched(items: Iterable[Item], count: int) -> Iterable[list[Item]]:
    remaining = iter(items)
    while some := list(islice(remaining, count)):
        yield some
