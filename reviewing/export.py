"""The reviewed data set: what people kept of a harvest, in the harvest's own form."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import fsspec
from fsspec.spec import AbstractFileSystem

from harvesting.counting import NOTHING, add, count
from harvesting.dataset import Dataset
from harvesting.exports import write_exports
from harvesting.items import join
from harvesting.plan import PLAN
from harvesting.resuming import begun_run, require_empty
from harvesting.rows import Rows
from harvesting.run import Counts, Run, write_run
from harvesting.storage import sweep, write, write_shard
from reviewing.decisions import COLUMNS, BoxId, Decision, ReviewRefused, to_decision
from reviewing.index import require_index
from reviewing.log import Log
from reviewing.reviewed import Unjudged, review
from reviewing.verdict import RULE


def export_reviewed(
    dataset: Dataset, log: Log, url: str, unjudged: Unjudged, command: Sequence[str]
) -> Run:
    """Write the reviewed data set, by the decisions that stand now; it is finished once its
    `run.json` says so. An export that was cut is written anew.

    Args:
        dataset: that was reviewed.
        log: of its decisions.
        url: folder, or any URL that fsspec knows, of the new data set.
        unjudged: see `Unjudged`.
        command: that is recorded.

    Returns:
        The new data set's run; how many boxes had which verdict is in `settings["reviewed"]`.

    Raises:
        ReviewRefused: there is a data set already, or the log is of another harvest.
        HarvestRefused: other files are there.
    """
    files, root = fsspec.core.url_to_fs(url)
    _require_free(files, root, url, dataset.run)
    require_index(log, dataset)
    thresholds = dataset.run.model.operating_points
    counts, verdicts = NOTHING, Counter[str]()
    # One view of the log, however long this takes and whoever goes on reviewing.
    with log.transaction("DEFERRED") as database:
        facts = _facts(database, unjudged)
        write_run(files, root, _run(dataset.run, facts, command))
        for shard in dataset.shards():
            mined = _mined(dataset, shard)
            rows, judged = review(mined, _decisions(database, shard), thresholds, unjudged)
            counts = add(counts, count(write_shard(files, root, shard, rows)))
            verdicts.update(judged)
    names = ("kept", "relabelled", "rejected", "tied", "unjudged")
    boxes = {name: verdicts[name] for name in names}
    run = _run(dataset.run, {**facts, "boxes": boxes}, command, counts)
    # So that the reviewed radiographs, too, can be found again at their source.
    write(files, join(root, PLAN), dataset.files.cat_file(join(dataset.root, PLAN)))
    write_exports(Dataset(files, root, run))
    sweep(files, root)
    write_run(files, root, run)
    return run


def _require_free(files: AbstractFileSystem, root: str, url: str, mined: Run) -> None:
    """Nothing is there, or what an export of the same data set left that was cut."""
    begun = begun_run(files, root)
    if begun is None:
        require_empty(files, root, url)
        return
    cut = not begun.finished and "reviewed" in begun.settings
    if not cut or _harvest(begun) != _harvest(mined):
        raise ReviewRefused(f"{url} holds a data set: name a folder that is not there yet.")


def _harvest(run: Run) -> tuple[object, ...]:
    """What a data set and its reviewed one have in common."""
    settings = {name: value for name, value in run.settings.items() if name != "reviewed"}
    return run.source, run.mode, run.model, run.shards, settings


def _run(
    mined: Run,
    reviewed: Mapping[str, object],
    command: Sequence[str],
    counts: Counts | None = None,
) -> Run:
    """The new data set's run; finished where there are counts."""
    return mined.model_copy(
        update={
            "command": list(command),
            "files": mined.files if counts is None else counts.radiographs,
            "settings": {**mined.settings, "reviewed": dict(reviewed)},
            "counts": counts,
            "timings": {},
            "finished": counts is not None,
        }
    )


def _facts(database: sqlite3.Connection, unjudged: Unjudged) -> dict[str, object]:
    """What the export goes by."""
    names = database.execute("SELECT DISTINCT reviewer FROM standing ORDER BY reviewer")
    reviewers = [name for (name,) in names]
    (last,) = database.execute("SELECT ifnull(max(id), 0) FROM decisions").fetchone()
    return {"rule": RULE, "unjudged": unjudged, "last_decision": last, "reviewers": reviewers}


def _mined(dataset: Dataset, shard: int) -> Rows:
    return Rows(
        tuple(dataset.radiographs(shard)),
        tuple(dataset.findings(shard)),
        tuple(dataset.disagreements(shard)),
    )


def _decisions(database: sqlite3.Connection, shard: int) -> dict[BoxId, list[Decision]]:
    """The standing decisions about a shard's boxes."""
    by_box: defaultdict[BoxId, list[Decision]] = defaultdict(list)
    for row in database.execute(
        f"SELECT {COLUMNS} FROM boxes JOIN standing USING (path, disease, box) "
        "WHERE shard = ? ORDER BY standing.id",
        (shard,),
    ):
        decision = to_decision(row)
        by_box[decision.of].append(decision)
    return by_box
