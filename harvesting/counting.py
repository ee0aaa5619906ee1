"""How many rows there are, of which kinds."""

from collections import Counter
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.spec import AbstractFileSystem

from harvesting.items import join
from harvesting.run import Counts
from harvesting.tables import Table, part

NOTHING = Counts(radiographs=0, localized=0, failed={}, findings=0, boxes=0, disagreements=0)

COLUMNS: dict[Table, list[str]] = {
    "radiographs": ["outcome", "reason"],
    "findings": ["boxes"],
    "disagreements": ["kind"],
}
"""What counting asks for."""


def count(tables: Mapping[Table, pa.Table]) -> Counts:
    """Count the rows of a shard; its tables need the columns of `COLUMNS` alone."""
    radiographs, findings = tables["radiographs"], tables["findings"]
    failed = Counter(reason for reason in radiographs["reason"].to_pylist() if reason is not None)
    boxes = pc.sum(pc.list_value_length(findings["boxes"])).as_py()
    return Counts(
        radiographs=radiographs.num_rows,
        localized=radiographs.num_rows - failed.total(),
        failed=dict(sorted(failed.items())),
        findings=findings.num_rows,
        boxes=boxes or 0,
        disagreements=tables["disagreements"].num_rows,
    )


def count_shard(files: AbstractFileSystem, root: str, shard: int) -> Counts:
    """Count the rows of a shard that was written."""
    tables = {}
    for table, columns in COLUMNS.items():
        with files.open(join(root, part(table, shard)), "rb") as file:
            tables[table] = pq.read_table(file, columns=columns)
    return count(tables)


def add(one: Counts, other: Counts) -> Counts:
    """The counts of both."""
    failed = Counter(one.failed) + Counter(other.failed)
    return Counts(
        radiographs=one.radiographs + other.radiographs,
        localized=one.localized + other.localized,
        failed=dict(sorted(failed.items())),
        findings=one.findings + other.findings,
        boxes=one.boxes + other.boxes,
        disagreements=one.disagreements + other.disagreements,
    )
