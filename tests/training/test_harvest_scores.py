"""A harvest is scored as the model that made it is, and by COCO's average precision."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from commands.main import app
from harvesting.dataset import Dataset
from harvesting.rows import FindingRow, RadiographRow, Rows, encode_heatmap
from localization import (
    Box,
    Compute,
    Field,
    Finding,
    Localizer,
    ModelBundle,
    shipped_bundle,
)
from training.average_precision import average_precision
from training.dataset import ChestXray14, read_radiograph
from training.evaluation import BATCH, predict, shown_by
from training.harvest_scores import score_harvest
from training.protocol import Shown, Target, patient_groups, read_targets, score_localization

Write = Callable[..., Path]
HEATMAP = np.eye(4, dtype=np.float32)
PNG = encode_heatmap(Finding("Mass", 0.5, 0.2, HEATMAP, (), HEATMAP[None]))


def harvest(localizer: Localizer, data: ChestXray14) -> Iterator[Rows]:
    """A shard per batch, in labelled mode."""
    for start in range(0, len(data.table), BATCH):
        table = data.table.iloc[start : start + BATCH]
        radiographs = [read_radiograph(file) for file in table["file"]]
        localizations = localizer.localize_batch(radiographs, "off")
        rows = []
        findings = []
        for (_, row), localization in zip(table.iterrows(), localizations, strict=True):
            name, facts = Path(row["file"]).name, localization.radiograph
            rows.append(
                RadiographRow(
                    f"images/{name}",
                    "localized",
                    width=facts.width,
                    height=facts.height,
                    field=facts.field,
                )
            )
            findings += [
                FindingRow(
                    f"images/{name}",
                    finding.disease,
                    finding.probability,
                    finding.threshold,
                    True,
                    finding.boxes,
                    encode_heatmap(finding),
                )
                for finding in localization.findings
                if row[finding.disease]
            ]
        yield Rows(tuple(rows), tuple(findings), ())


def without_pointing(scores: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """All but what is read off the heat map, of which a data set keeps 256 levels."""
    return {
        of: {name: figure for name, figure in own.items() if name != "pointing game"}
        for of, own in scores.items()
    }


def test_a_harvest_scores_as_its_model_does(chestxray14: Path, write_dataset: Write) -> None:
    """Forty boxed radiographs: the mined boxes' figures are `evaluate`'s, to the last digit."""
    official = ChestXray14.read(chestxray14)
    stems = sorted({target.stem for target in read_targets(official)})[::22]
    assert len(stems) == 40
    data = replace(official, table=official.table.loc[stems])
    localizer = Localizer(ModelBundle.load(shipped_bundle()), Compute("cpu"))
    figures = score_harvest(
        Dataset.open(str(write_dataset(list(harvest(localizer, data))))), official
    )
    assert figures["radiographs"] == {"boxed": 880, "harvested": 40}
    method = shown_by(localizer.bundle, predict(localizer, data.table, set(stems)))
    for group, targets in patient_groups(read_targets(data)).items():
        scores = figures["localization"][group]
        own_cuts = score_localization(targets, lambda target: method(target).as_answered())
        assert without_pointing(scores["mined boxes"]) == without_pointing(own_cuts)
        # A heat map's levels of 256 move a box's edge now and then, by which a box may be lost.
        published, kept = score_localization(targets, method), scores["kept heat maps"]
        assert kept["all boxes"]["boxes"] == published["all boxes"]["boxes"]
        for overlap in ("IoU", "IoBB"):
            for threshold, expected in published["all boxes"][overlap].items():
                found = kept["all boxes"][overlap][threshold]
                assert found["accuracy"] == pytest.approx(expected["accuracy"], abs=0.1)


def official_boxes_as_mined(data: ChestXray14, side: int) -> Rows:
    """Every official box, in pixels of radiographs of this side."""
    scale = side / 1024
    targets = read_targets(data)
    return Rows(
        tuple(
            RadiographRow(
                f"{stem}.png", "localized", width=side, height=side, field=Field(0, 0, side, side)
            )
            for stem in sorted({target.stem for target in targets})
        ),
        tuple(
            FindingRow(
                f"{target.stem}.png",
                target.disease,
                0.5,
                0.2,
                True,
                tuple(Box(*(scale * edge for edge in box), 0.5) for box in target.boxes),
                PNG,
            )
            for target in targets
        ),
        (),
    )


def test_official_boxes_harvested_as_themselves_are_perfect(
    chestxray14: Path, write_dataset: Write
) -> None:
    official = ChestXray14.read(chestxray14)
    folder = write_dataset([official_boxes_as_mined(official, 512)])
    figures = score_harvest(Dataset.open(str(folder)), official)
    everyone = figures["average precision"]["all patients"]
    assert everyone["mean"]["boxes"] == 984
    assert len(everyone) == 9
    for scores in everyone.values():
        assert [scores[name] for name in ("AP", "AP 0.1", "AP 0.5")] == pytest.approx([1.0] * 3)
    found = figures["localization"]["all patients"]["mined boxes"]["all boxes"]
    assert found["IoU"]["0.7"] == {"accuracy": 1.0, "afp": 0.0}
    assert figures["not_mined"] == 0


def boxed(stem: str, x: float) -> Target:
    return Target(stem, 1, "Mass", [(x, 100.0, 100.0, 100.0)])


def shown(*boxes: tuple[float, float]) -> Shown:
    """Candidates of 100 x 100 pixels, by x and score."""
    return Shown([], (0, 0), [(x, 100.0, 100.0, 100.0) for x, _ in boxes], [s for _, s in boxes])


def test_a_false_box_of_a_better_score_halves_the_precision() -> None:
    targets = [boxed("a", 100), boxed("b", 100)]
    first = [shown((100, 0.9)), shown((100, 0.8), (600, 0.1))]
    assert average_precision(targets, first)["Mass"]["AP"] == pytest.approx(1)
    last = [shown((100, 0.9), (600, 0.95)), shown((100, 0.8), (700, 0.99))]
    assert average_precision(targets, last)["Mass"]["AP"] == pytest.approx(0.5)
    half = [shown((100, 0.9)), shown()]
    assert average_precision(targets, half)["Mass"]["AP"] == pytest.approx(51 / 101)


def test_a_loose_box_counts_at_a_loose_threshold() -> None:
    scores = average_precision([boxed("a", 100)], [shown((150, 0.9))])["mean"]
    assert [scores[f"AP {iou}"] for iou in (0.1, 0.3, 0.5)] == pytest.approx([1, 1, 0])
    assert scores["AP"] == 0


def test_nothing_found_has_no_precision() -> None:
    assert average_precision([boxed("a", 100)], [shown()])["mean"]["AP 0.1"] == 0


def test_what_was_not_mined_counts_as_missed(data: ChestXray14, write_dataset: Write) -> None:
    """Of the two boxed radiographs, one failed."""
    whole = official_boxes_as_mined(data, 128)
    first, second = whole.radiographs
    failed = RadiographRow(second.path, "failed", "truncated", "The file ends early.")
    findings = tuple(row for row in whole.findings if row.path == first.path)
    folder = write_dataset([Rows((first, failed), findings, ())])
    figures = score_harvest(Dataset.open(str(folder)), data)
    assert figures["not_mined"] == 1
    scores = figures["localization"]["all patients"]["mined boxes"]["all boxes"]
    assert scores["boxes"] == 2
    assert scores["IoU"]["0.7"] == {"accuracy": 0.5, "afp": 0}
    assert scores["pointing game"] < 1
    assert figures["average precision"]["all patients"]["mean"]["AP"] == pytest.approx(0.5)


def test_what_cannot_be_scored_is_refused(data: ChestXray14, write_dataset: Write) -> None:
    rows = official_boxes_as_mined(data, 128)
    other = Rows((replace(rows.radiographs[0], path="else.png"),), (), ())
    for shards, mode, reason in (
        ([rows], "open", "labelled mode"),
        ([rows, rows], "labelled", "twice"),
        ([other], "labelled", "no radiograph that has official boxes"),
    ):
        dataset = Dataset.open(str(write_dataset(shards, mode=mode)))
        with pytest.raises(ValueError, match=reason):
            score_harvest(dataset, data)


def test_the_command_prints_the_tables(
    official_files: Path, data: ChestXray14, write_dataset: Write, tmp_path: Path
) -> None:
    folder = write_dataset([official_boxes_as_mined(data, 128)])
    call = ["score-harvest", str(folder), "--data", str(official_files)]
    result = CliRunner().invoke(app, [*call, "--output", str(tmp_path / "figures.json")])
    assert result.exit_code == 0, result.output
    assert "2 of the 2" in result.stdout
    for words in ("mined boxes", "kept heat maps", "T(IoBB)", "COCO's average precision"):
        assert words in result.stdout
    assert "odd patients" in result.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["average precision"]["odd patients"]["Infiltration"]["AP"] == pytest.approx(1)


def test_the_command_says_what_is_wrong(official_files: Path, tmp_path: Path) -> None:
    call = ["score-harvest", str(tmp_path), "--data", str(official_files)]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 2
    assert "is no harvested data set" in result.stderr
