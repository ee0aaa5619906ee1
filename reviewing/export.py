"""The reviewed data set: what people kept of a harvest, in the harvest's own form."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import fsspec

from harvesting.counting import NOTHING, add, count
from harvesting.dataset import Dataset
from harvesting.exports import write_exports
from harvesting.items import join
from harvesting.plan import PLAN
from harvesting.rows import Rows
from harvesting.run import RUN, Counts, Run, write_run
from harvesting.storage import write, write_shard
from reviewing.decisions import COLUMNS, BoxId, Decision, Log, ReviewRefused, to_decision
from reviewing.index import build_index
from reviewing.reviewed import Unjudged, review
from reviewing.verdict import RULE


def export_reviewed(
    dataset: Dataset, log: Log, url: str, unjudged: Unjudged, command: Sequence[str]
) -> Run:
    """Write the reviewed data set, by the decisions that stand now; its `run.json` comes last.

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
    """
    files, root = fsspec.core.url_to_fs(url)
    if files.exists(join(root, RUN)):
        raise ReviewRefused(f"{url} holds a data set: name a folder that is not there yet.")
    build_index(log, dataset)
    thresholds = dataset.run.model.operating_points
    counts, verdicts = NOTHING, Counter[str]()
    # One view of the log, however long this takes and whoever goes on reviewing.
    with log.transaction("DEFERRED") as database:
        facts = _facts(database, unjudged)
        for shard in dataset.shards():
            mined = _mined(dataset, shard)
            rows, judged = review(mined, _decisions(database, shard), thresholds, unjudged)
            counts = add(counts, count(write_shard(files, root, shard, rows)))
            verdicts.update(judged)
    run = _run(dataset.run, counts, verdicts, facts, command)
    # So that the reviewed radiographs, too, can be found again at their source.
    write(files, join(root, PLAN), dataset.files.cat_file(join(dataset.root, PLAN)))
    write_exports(Dataset(files, root, run))
    write_run(files, root, run)
    return run


def _run(
    mined: Run,
    counts: Counts,
    verdicts: Counter[str],
    facts: Mapping[str, object],
    command: Sequence[str],
) -> Run:
    names = ("kept", "relabelled", "rejected", "tied", "unjudged")
    reviewed = {**facts, "boxes": {name: verdicts[name] for name in names}}
    return mined.model_copy(
        update={
            "command": list(command),
            "files": counts.radiographs,
            "settings": {**mined.settings, "reviewed": reviewed},
            "counts": counts,
            "timings": {},
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
