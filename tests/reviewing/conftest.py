"""The small harvest, written, opened, and judged."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from review_helpers import MINED, SHARDS

from harvesting.dataset import Dataset
from reviewing.decisions import Action, BoxId, Decision, Edges
from reviewing.index import build_index
from reviewing.log import Log


@pytest.fixture
def folder(write_dataset: Callable[..., Path]) -> Path:
    return write_dataset(SHARDS)


@pytest.fixture
def dataset(folder: Path) -> Dataset:
    return Dataset.open(str(folder))


@pytest.fixture
def log(folder: Path, dataset: Dataset) -> Iterator[Log]:
    with Log.open(folder) as log:
        build_index(log, dataset)
        yield log


@pytest.fixture
def judge(log: Log) -> Callable[..., int]:
    """Appends a decision: `judge("ann", MASS, "move", Edges(...))`."""

    def append(
        reviewer: str,
        of: BoxId,
        action: Action,
        edges: Edges | None = None,
        new_disease: str | None = None,
    ) -> int:
        if edges is None and action not in ("reject", "undo"):
            edges = MINED[of]
        return log.append(Decision(reviewer, of, action, edges, new_disease))

    return append
