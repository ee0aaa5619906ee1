"""From a review to training: what people rejected, moved and relabelled is what is learned."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from harvesting.dataset import Dataset
from harvesting.rows import FindingRow, RadiographRow, Rows, encode_heatmap
from localization import DISEASES, Box, Field, Finding
from reviewing.decisions import BoxId, Decision, Edges
from reviewing.export import export_reviewed
from reviewing.index import build_index
from reviewing.log import Log
from training.dataset import ChestXray14
from training.harvest import draw_mask, read_masks

WHOLE = Field(0, 0, 128, 128)
MINED, OTHER = Box(64, 32, 32, 32, 0.5), Box(8, 8, 16, 16, 0.4)
MOVED = Edges(60, 20, 40, 48)
HEAT = np.eye(4, dtype=np.float32)
HEATMAP = encode_heatmap(Finding("Mass", 0.5, 0.25, HEAT, (), HEAT[None]))


def mined(stem: str, disease: str, *boxes: Box) -> Rows:
    path = f"{stem}.png"
    radiograph = RadiographRow(
        path,
        "localized",
        width=128,
        height=128,
        field=WHOLE,
        labels=(disease,),
        probabilities=(0.5,) * len(DISEASES),
    )
    return Rows((radiograph,), (FindingRow(path, disease, 0.5, 0.25, True, boxes, HEATMAP),), ())


@pytest.fixture
def table(data: ChestXray14) -> pd.DataFrame:
    return data.part("training")


def test_what_a_review_leaves_is_what_masks_are_drawn_of(
    write_dataset: Callable[[Sequence[Rows]], Path],
    data: ChestXray14,
    table: pd.DataFrame,
    tmp_path: Path,
) -> None:
    """Of five radiographs: a box accepted and one of the same finding rejected, all rejected, one
    moved, one relabelled to what the image is labelled with, one to what it is not."""
    diseases = ("Mass", "Atelectasis", "Effusion", "Nodule", "Cardiomegaly")
    accepted, rejected, moved, relabelled, astray = (
        str(table.index[table[disease]][0]) for disease in diseases
    )
    harvest = write_dataset(
        [
            mined(accepted, "Mass", MINED, OTHER),
            mined(rejected, "Atelectasis", MINED),
            mined(moved, "Effusion", MINED),
            mined(relabelled, "Hernia", MINED),
            mined(astray, "Cardiomegaly", MINED),
        ]
    )
    as_mined = Edges(MINED.x, MINED.y, MINED.width, MINED.height)

    def decision(stem: str, disease: str, action: str, *more: object, box: int = 0) -> Decision:
        return Decision("ann", BoxId(f"{stem}.png", disease, box), action, *more)  # type: ignore[arg-type]

    dataset = Dataset.open(str(harvest))
    with Log.open(harvest) as log:
        build_index(log, dataset)
        for each in (
            decision(accepted, "Mass", "accept", as_mined),
            decision(accepted, "Mass", "reject", box=1),
            decision(rejected, "Atelectasis", "reject"),
            decision(moved, "Effusion", "move", MOVED),
            decision(relabelled, "Hernia", "relabel", as_mined, "Nodule"),
            decision(astray, "Cardiomegaly", "relabel", as_mined, "Pneumonia"),
        ):
            log.append(each)
        export_reviewed(dataset, log, str(tmp_path / "reviewed"), "drop", ["review-export"])
    masks = read_masks(Dataset.open(str(tmp_path / "reviewed")), data, table)
    expected = {
        (accepted, "Mass"): MINED,
        (moved, "Effusion"): Box(MOVED.x, MOVED.y, MOVED.width, MOVED.height, MINED.score),
        (relabelled, "Nodule"): MINED,
    }
    found = {
        (str(table.index[row]), DISEASES[disease]): mask
        for (row, disease), mask in zip(masks.pairs.tolist(), masks.masks, strict=True)
    }
    assert found.keys() == expected.keys()
    for name, box in expected.items():
        assert torch.equal(found[name], torch.from_numpy(draw_mask([box], WHOLE))), name
