"""What a run finds where it is to write: nothing, other files, or what an earlier sitting left."""

from glob import escape
from typing import Any

from fsspec.spec import AbstractFileSystem

from harvesting.items import join
from harvesting.plan import PLAN
from harvesting.run import Run, read_run
from harvesting.tables import TABLES, Table


class HarvestRefused(ValueError):
    """A harvest that cannot be begun or resumed; the message says why."""


def begun_run(files: AbstractFileSystem, root: str) -> Run | None:
    """The run that was begun there; None where none was."""
    try:
        return read_run(files, root)
    except FileNotFoundError:
        return None


def require_empty(files: AbstractFileSystem, root: str, out: str) -> None:
    """Raises `HarvestRefused` where other files are; a run that was cut as it began may have left
    its plan."""
    try:
        names = {entry.rstrip("/").rpartition("/")[2] for entry in files.ls(root, detail=False)}
    except FileNotFoundError:
        return
    if {name for name in names if not name.startswith(".")} - {PLAN}:
        raise HarvestRefused(f"{out} holds other files: name a new folder.")


def require_same(begun: Run, asked: Run) -> None:
    """Raises `HarvestRefused`, which says what differs of all that decides what rows hold."""

    def settings(run: Run) -> dict[str, Any]:
        model = {f"model's {name}": value for name, value in run.model.model_dump().items()}
        return {"source": run.source, "mode": run.mode, **model, **run.settings}

    before, now = settings(begun), settings(asked)
    if different := [name for name in before | now if before.get(name) != now.get(name)]:
        said = ", ".join(f"{name} ({before.get(name)}, now {now.get(name)})" for name in different)
        raise HarvestRefused(f"The run was begun with another {said}: resume it with the same.")


def complete_shards(files: AbstractFileSystem, root: str) -> frozenset[int]:
    """The numbers of the shards all of whose tables are written."""
    return frozenset.intersection(*(_written(files, root, table) for table in TABLES))


def _written(files: AbstractFileSystem, root: str, table: Table) -> frozenset[int]:
    found = files.glob(join(escape(root), f"{table}/shard=*/part.parquet"))
    return frozenset(int(path.split("/")[-2].removeprefix("shard=")) for path in found)
