"""Rows as Parquet: the schema that a harvested data set keeps, and its files.

    radiographs/shard=00012/part.parquet       one row per file of the archive
    findings/shard=00012/part.parquet          one row per disease mined in a radiograph
    disagreements/shard=00012/part.parquet     one row per disease on which label and model disagree

A shard is complete once all three are there; its radiographs are written last.
"""

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, Literal

import pyarrow as pa

from harvesting.rows import DisagreementRow, FindingRow, Patient, RadiographRow, Rows
from localization import DISEASES, Box, Field

Table = Literal["findings", "disagreements", "radiographs"]

TABLES: tuple[Table, ...] = ("findings", "disagreements", "radiographs")
"""In the order in which a shard writes them."""

_FIELD = pa.struct([(name, pa.int32()) for name in ("x", "y", "width", "height")])

_BOX = pa.struct(
    [
        *((name, pa.float64()) for name in ("x", "y", "width", "height", "score")),
        ("step", pa.int32()),
    ]
)

_HASHES = pa.struct([(name, pa.string()) for name in ("patient", "study", "instance")])

SCHEMAS: dict[Table, pa.Schema] = {
    "radiographs": pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("outcome", pa.string(), nullable=False),
            ("reason", pa.string()),
            ("detail", pa.string()),
            ("format", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("field", _FIELD),
            ("image_left", pa.string()),
            ("window", pa.string()),
            ("typicality", pa.float32()),
            ("warnings", pa.list_(pa.string())),
            ("labels", pa.list_(pa.string())),
            ("unknown", pa.list_(pa.string())),
            ("probabilities", pa.list_(pa.float32(), len(DISEASES))),
            ("patient", _HASHES),
        ]
    ),
    "findings": pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("disease", pa.string(), nullable=False),
            ("probability", pa.float32()),
            ("threshold", pa.float64()),
            ("labelled", pa.bool_()),
            ("boxes", pa.list_(_BOX)),
            ("heatmap", pa.binary()),
        ]
    ),
    "disagreements": pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("disease", pa.string(), nullable=False),
            ("probability", pa.float32()),
            ("threshold", pa.float64()),
            ("kind", pa.string()),
        ]
    ),
}


def part(table: Table, shard: int) -> str:
    """Where a shard's rows of a table lie, within the data set."""
    return f"{table}/shard={shard:05d}/part.parquet"


def to_tables(rows: Rows) -> dict[Table, pa.Table]:
    """Rows as Arrow tables."""
    return {
        name: pa.Table.from_pylist(
            [_plain(row) for row in getattr(rows, name)], schema=SCHEMAS[name]
        )
        for name in TABLES
    }


def to_radiographs(table: pa.Table) -> list[RadiographRow]:
    """The rows of a radiographs table."""
    return [_radiograph(row) for row in table.to_pylist()]


def to_findings(table: pa.Table) -> list[FindingRow]:
    """The rows of a findings table."""
    return [
        FindingRow(**{**row, "boxes": tuple(Box(**box) for box in row["boxes"])})
        for row in table.to_pylist()
    ]


def to_disagreements(table: pa.Table) -> list[DisagreementRow]:
    """The rows of a disagreements table."""
    return [DisagreementRow(**row) for row in table.to_pylist()]


def _plain(row: object) -> dict[str, Any]:
    assert is_dataclass(row)
    return asdict(row)  # type: ignore[arg-type]


def _radiograph(row: dict[str, Any]) -> RadiographRow:
    return RadiographRow(
        **{
            **row,
            "field": Field(**row["field"]) if row["field"] else None,
            "warnings": tuple(row["warnings"]),
            "labels": _tuple(row["labels"]),
            "unknown": tuple(row["unknown"]),
            "probabilities": _tuple(row["probabilities"]),
            "patient": Patient(**row["patient"]),
        }
    )


def _tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
