"""`run.json`: what a harvest was, and how it went."""

from typing import Any, Literal

from fsspec.spec import AbstractFileSystem
from pydantic import BaseModel, ConfigDict

from harvesting.items import join
from harvesting.storage import write

RUN = "run.json"

Mode = Literal["open", "labelled"]
"""`open`: mined is what reaches its operating point. `labelled`: mined is what the image's labels
name, whatever its probability."""


class Model(BaseModel):
    """What mined."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    precision: str
    sha256: str
    """Of the graph."""
    operating_points: dict[str, float]
    """The probability of each disease from which it counts as found."""


class Counts(BaseModel):
    """Rows of a finished data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    radiographs: int
    localized: int
    failed: dict[str, int]
    """By reason."""
    findings: int
    boxes: int
    disagreements: int


class Run(BaseModel):
    """What `run.json` holds. A run that was cut goes on as it began: only `counts`, `timings`
    and `finished` are written later."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    """Of the data set; a change of the schema raises it."""
    source: str
    """Folder, pattern, list, archive or URL: paths of rows are within it. Of this machine's files
    it is absolute."""
    mode: Mode
    model: Model
    command: list[str]
    shards: int
    files: int
    settings: dict[str, Any]
    """All else that decides what the rows hold."""
    counts: Counts | None = None
    timings: dict[str, float] = {}
    """Summed over the sittings of a run that was cut: seconds of the stages one after the other
    (`listing_seconds`, `work_seconds`, `exports_seconds`, `report_seconds`), their sum `seconds`,
    and within the work, summed over all workers, `prepare_seconds`, `infer_seconds` and
    `finish_seconds`; `radiographs_per_second` of the whole."""
    finished: bool = False


def read_run(files: AbstractFileSystem, root: str) -> Run:
    """The `run.json` of a data set. Raises `FileNotFoundError` where there is none."""
    return Run.model_validate_json(files.cat_file(join(root, RUN)))


def write_run(files: AbstractFileSystem, root: str, run: Run) -> None:
    """Write `run.json`; it replaces the one before."""
    write(files, join(root, RUN), run.model_dump_json(indent=2).encode() + b"\n")
