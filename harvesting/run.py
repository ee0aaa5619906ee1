"""`run.json`: what a harvest was, and how it went."""

import json
from typing import Any, Literal

from fsspec.spec import AbstractFileSystem
from pydantic import BaseModel, ConfigDict

from harvesting.items import join
from harvesting.storage import write

RUN = "run.json"

FORMAT: Literal[2] = 2
"""1 had no column `unknown`, and took what labels leave open for no."""

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

    format: Literal[2] = FORMAT
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
    left_out: dict[str, int] = {}
    """Files of the source, by a suffix that is no radiograph's: they have no rows. With a limit,
    of the part that was listed."""
    counts: Counts | None = None
    timings: dict[str, float] = {}
    """Summed over the sittings of a run that was cut: seconds of the stages one after the other
    (`listing_seconds`, `work_seconds`, `exports_seconds`, `report_seconds`), their sum `seconds`,
    and within the work, summed over all workers, `prepare_seconds`, `infer_seconds` and
    `finish_seconds`; `radiographs_per_second` of the whole."""
    finished: bool = False


def read_run(files: AbstractFileSystem, root: str) -> Run:
    """The `run.json` of a data set.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is of another format, or none.
    """
    content = files.cat_file(join(root, RUN))
    found = json.loads(content)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(
            f"{join(root, RUN)} is not of format {FORMAT}, which this version reads: harvest again."
        )
    return Run.model_validate_json(content)


def write_run(files: AbstractFileSystem, root: str, run: Run) -> None:
    """Write `run.json`; it replaces the one before."""
    write(files, join(root, RUN), run.model_dump_json(indent=2).encode() + b"\n")
