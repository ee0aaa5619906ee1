"""Scores the boxes of a harvested data set against the official ones of ChestX-ray14.

By the published protocol, through the functions that score a bundle, and by COCO's average
precision. A harvest scores what it found: a disease of a boxed radiograph that it did not mine,
and a radiograph that failed, count as shown nothing.
"""

from dataclasses import dataclass
from typing import Any

from harvesting.dataset import Dataset
from harvesting.rows import FindingRow, RadiographRow, decode_heatmap
from localization import Box
from training.average_precision import average_precision
from training.dataset import ChestXray14
from training.harvest import stem_of
from training.protocol import (
    ORIGINAL_SIDE,
    Rectangle,
    Shown,
    Target,
    field_of,
    patient_groups,
    read_targets,
    score_localization,
    show,
)

NOTHING = Shown([], (-1.0, -1.0), [], [])
"""What a harvest shows of a disease that it did not mine."""


@dataclass(frozen=True)
class Harvest:
    """What was mined in the radiographs that have official boxes."""

    targets: list[Target]
    """Of the radiographs that are in it."""
    shown: dict[tuple[str, str], Shown]
    """By stem and disease: the mined boxes as candidates, beside those that the published
    thresholds draw of the kept heat map."""

    def show(self, target: Target) -> Shown:
        """What it shows of a target."""
        return self.shown.get((target.stem, target.disease), NOTHING)


def score_harvest(dataset: Dataset, data: ChestXray14) -> dict[str, Any]:
    """All figures of a harvest, as a JSON document.

    Of `mined boxes`, Acc and AFP are those of the boxes in the data set: what `evaluate` prints of
    `model's own cuts`. `kept heat maps` are cut by the published thresholds, as `model` is there;
    they hold a level of 256, so their figures may differ a little.

    Args:
        dataset: harvested in labelled mode.
        data: the official files.

    Raises:
        ValueError: it was not harvested in labelled mode, names a boxed radiograph twice, or holds
            none.
    """
    if dataset.run.mode != "labelled":
        raise ValueError(
            f"{dataset.root} was harvested in {dataset.run.mode} mode, which mines what the model "
            "is sure of: only labelled mode can be scored by the labelled boxes."
        )
    everything = read_targets(data)
    harvest = read_harvest(dataset, everything)
    methods = {
        "mined boxes": lambda target: harvest.show(target).as_answered(),
        "kept heat maps": harvest.show,
    }
    groups = patient_groups(harvest.targets)
    return {
        "model": {"name": dataset.run.model.name, "version": dataset.run.model.version},
        "radiographs": {
            "boxed": len({target.stem for target in everything}),
            "harvested": len({target.stem for target in harvest.targets}),
        },
        "not_mined": sum((t.stem, t.disease) not in harvest.shown for t in harvest.targets),
        "localization": {
            group: {name: score_localization(chosen, method) for name, method in methods.items()}
            for group, chosen in groups.items()
            if chosen
        },
        "average precision": {
            group: average_precision(chosen, [harvest.show(target) for target in chosen])
            for group, chosen in groups.items()
            if chosen
        },
    }


def read_harvest(dataset: Dataset, targets: list[Target]) -> Harvest:
    """What a data set shows of targets.

    Raises:
        ValueError: a boxed radiograph is there twice, or none at all.
    """
    wanted = {(target.stem, target.disease) for target in targets}
    boxed = {stem for stem, _ in wanted}
    here: set[str] = set()
    shown: dict[tuple[str, str], Shown] = {}
    for shard in dataset.shards():
        rows = {row.path: row for row in dataset.radiographs(shard) if stem_of(row.path) in boxed}
        for path in rows:
            if stem_of(path) in here:
                raise ValueError(f"{dataset.root} holds {stem_of(path)} twice.")
            here.add(stem_of(path))
        for finding in dataset.findings(shard):
            key = stem_of(finding.path), finding.disease
            if key in wanted:
                shown[key] = _show(finding, rows[finding.path])
    if not here:
        raise ValueError(f"{dataset.root} holds no radiograph that has official boxes.")
    return Harvest([target for target in targets if target.stem in here], shown)


def _show(finding: FindingRow, radiograph: RadiographRow) -> Shown:
    drawn = show(decode_heatmap(finding.heatmap), field=field_of(radiograph))
    return Shown(
        drawn.boxes,
        drawn.peak,
        [_in_original(box, radiograph) for box in finding.boxes],
        [box.score for box in finding.boxes],
    )


def _in_original(box: Box, radiograph: RadiographRow) -> Rectangle:
    assert radiograph.width is not None
    assert radiograph.height is not None
    across, down = ORIGINAL_SIDE / radiograph.width, ORIGINAL_SIDE / radiograph.height
    return box.x * across, box.y * down, box.width * across, box.height * down
