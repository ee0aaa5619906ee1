"""What a harvested data set says of the training part: a mask for each labelled disease mined."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from harvesting.dataset import Dataset
from harvesting.rows import FindingRow
from localization import DISEASES, Box, Field
from training.dataset import ChestXray14
from training.prior import MinedMasks
from training.protocol import ORIGINAL_SIDE, Rectangle, coverage

MASK_SIDE = 64
"""Cells of a mask along each axis: finer than any heat map."""


def stem_of(path: str) -> str:
    """The name by which ChestX-ray14 knows a harvested file, whatever folder and suffix it has."""
    return PurePosixPath(path).stem


def read_masks(dataset: Dataset, data: ChestXray14, table: pd.DataFrame) -> MinedMasks:
    """Masks of what was mined in the radiographs of a table, for the diseases that it labels.

    What a person rejected has no box left, and so no mask.

    Args:
        dataset: harvested, and reviewed where someone did.
        data: whose test list no harvest that is trained on may touch.
        table: the training part.

    Raises:
        ValueError: a radiograph of it is on the official test list, or none is in the table.
    """
    numbers = {stem: row for row, stem in enumerate(table.index)}
    labels = table[list(DISEASES)].to_numpy(bool)
    pairs, masks = [], []
    for finding, field in _findings(dataset, data):
        row, disease = numbers.get(stem_of(finding.path)), DISEASES.index(finding.disease)
        if row is not None and labels[row, disease] and finding.boxes:
            pairs.append((row, disease))
            masks.append(draw_mask(finding.boxes, field))
    if not pairs:
        raise ValueError(f"{dataset.root} holds no mined box of a radiograph of the training part.")
    order = sorted(range(len(pairs)), key=pairs.__getitem__)
    return MinedMasks(
        torch.tensor([pairs[i] for i in order]),
        torch.from_numpy(np.stack([masks[i] for i in order])),
    )


def draw_mask(boxes: Sequence[Box], field: Field) -> NDArray[np.uint8]:
    """How much of each cell of the field boxes cover, `[MASK_SIDE, MASK_SIDE]`, 255 is all of it.

    A box counts for as much as its score is of the best one's.
    """
    best = max(box.score for box in boxes)
    drawn = [
        coverage([_within(box, field)], MASK_SIDE, MASK_SIDE) * (box.score / best if best else 1.0)
        for box in boxes
    ]
    return np.rint(255 * np.max(drawn, axis=0)).astype(np.uint8)


def _within(box: Box, field: Field) -> Rectangle:
    """A box as `coverage` takes it: its field stretched to the original's side."""
    across, down = ORIGINAL_SIDE / field.width, ORIGINAL_SIDE / field.height
    x, y = (box.x - field.x) * across, (box.y - field.y) * down
    return x, y, box.width * across, box.height * down


def _findings(dataset: Dataset, data: ChestXray14) -> Iterator[tuple[FindingRow, Field]]:
    """Findings with the fields of their radiographs, none of them on the test list."""
    for shard in dataset.shards():
        fields: dict[str, Field] = {}
        refused = []
        for radiograph in dataset.radiographs(shard):
            if stem_of(radiograph.path) in data.test_list:
                refused.append(radiograph.path)
            if radiograph.field is not None:
                fields[radiograph.path] = radiograph.field
        if refused:
            raise ValueError(
                f"{dataset.root} holds radiographs of the official test list, on which nothing is "
                f"trained: {', '.join(refused[:5])}."
            )
        for finding in dataset.findings(shard):
            yield finding, fields[finding.path]
