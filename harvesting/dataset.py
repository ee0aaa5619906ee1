"""A harvested data set, opened: a folder or any URL that fsspec knows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.spec import AbstractFileSystem

from harvesting.items import join
from harvesting.remote import named_errors
from harvesting.rows import DisagreementRow, FindingRow, RadiographRow
from harvesting.run import RUN, Run, read_run
from harvesting.tables import Table, part, to_disagreements, to_findings, to_radiographs


class DatasetRefused(ValueError):
    """What is no data set, or an unfinished one; the message says which."""


@dataclass(frozen=True)
class Dataset:
    """The rows of a run, shard by shard: an archive's do not fit into memory."""

    files: AbstractFileSystem
    root: str
    run: Run

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a finished data set.

        Raises:
            DatasetRefused: there is none, or its run was cut.
        """
        try:
            with named_errors(url):
                files, root = fsspec.core.url_to_fs(url)
                run = read_run(files, root)
        except FileNotFoundError as error:
            raise DatasetRefused(f"{url} holds no {RUN}: it is no harvested data set.") from error
        if not run.finished:
            raise DatasetRefused(f"{url} is not finished: run the command that began it again.")
        return cls(files, root, run)

    def radiographs(self, shard: int) -> list[RadiographRow]:
        """A shard's files, in the order of the archive."""
        return to_radiographs(self._table("radiographs", shard))

    def findings(self, shard: int) -> list[FindingRow]:
        """What was mined in a shard, in the order of its radiographs, then of `DISEASES`."""
        return to_findings(self._table("findings", shard))

    def disagreements(self, shard: int) -> list[DisagreementRow]:
        """Where labels and model disagree in a shard, in the order of `findings`."""
        return to_disagreements(self._table("disagreements", shard))

    def radiograph(self, shard: int, path: str) -> tuple[RadiographRow, list[FindingRow]]:
        """One file of a shard, and what was mined in it.

        Raises:
            KeyError: the shard has no such file.
        """
        rows = to_radiographs(self._table("radiographs", shard, path))
        if not rows:
            raise KeyError(path)
        return rows[0], to_findings(self._table("findings", shard, path))

    def shards(self) -> Iterator[int]:
        """The numbers of all shards."""
        return iter(range(self.run.shards))

    def _table(self, table: Table, shard: int, path: str | None = None) -> pa.Table:
        chosen = None if path is None else [("path", "=", path)]
        with self.files.open(join(self.root, part(table, shard)), "rb") as file:
            return pq.read_table(file, filters=chosen)
