"""Whether findings hold where a radiograph has borders, text or other edges than in training.

Radiographs of the validation part are altered, see `training.alterations`. What the model says of
them is compared with what it says of the originals, boxes mapped back, with the search for the
exposed field and without it; and it is told how many of them the gate would refuse or warn of.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from localization import DISEASES, Box, Localization, Localizer, Radiograph, find_field
from training.alterations import ALTERATIONS, Alteration, Altered, Pixels
from training.areas import mean_area
from training.dataset import ChestXray14, read_radiograph
from training.protocol import Rectangle, overlap

BATCH = 16
SIDE = 512
"""Pixels. Smaller radiographs are enlarged to it first, so that text is as sharp in all."""


@dataclass(frozen=True)
class Agreement:
    """How what is said of altered radiographs agrees with what is said of the originals."""

    fields: float
    """Share of the altered radiographs of which a part was taken as the field."""
    refused: float
    """Share of them that the gate would refuse by its default policy."""
    warned: float
    """Share of them that it would not refuse, but warn of."""
    median: float
    """Of the probabilities' absolute changes, over radiographs and diseases."""
    percentile_95: float
    area: float
    """Mean AUC over the diseases, of the altered radiographs."""
    overlap: float
    """Mean IoU of each original's strongest box per disease with the best one after."""


@dataclass(frozen=True)
class Robustness:
    """What `measure` returns."""

    radiographs: int
    agreements: dict[str, dict[bool, Agreement]]
    """By alteration, and by whether the field was looked for."""


def measure(
    localizer: Localizer,
    data: ChestXray14,
    radiographs: int,
    seed: int = 0,
    alterations: dict[str, Alteration] = ALTERATIONS,
) -> Robustness:
    """Compare radiographs drawn from the validation part with themselves, altered.

    Args:
        localizer: of the bundle.
        data: the official files.
        radiographs: how many; all of the part where it has fewer.
        seed: of the draw and of noise.
        alterations: by name.
    """
    random = np.random.default_rng(seed)
    part = data.part("validation")
    chosen = random.choice(len(part), min(radiographs, len(part)), replace=False)
    table = part.iloc[np.sort(chosen)]
    pixels = [_enlarged(read_radiograph(file).pixels) for file in table["file"]]
    originals = _both(localizer, pixels)
    agreements = {}
    for name, alter in tqdm(alterations.items(), desc="Altering"):
        altered = [alter(each, random) for each in pixels]
        agreements[name] = {
            search: _agreement(table, originals[search], after, altered)
            for search, after in _both(localizer, [each.pixels for each in altered]).items()
        }
    return Robustness(len(table), agreements)


def _agreement(
    table: pd.DataFrame,
    before: list[Localization],
    after: list[Localization],
    altered: list[Altered],
) -> Agreement:
    changes = np.abs(_probabilities(after) - _probabilities(before))
    overlaps = [
        found
        for first, second, each in zip(before, after, altered, strict=True)
        for found in _overlaps(first, second, each)
    ]
    refused = [_is_refused(localization) for localization in after]
    doubted = [bool(localization.radiograph.warnings) for localization in after]
    return Agreement(
        fields=float(np.mean([_is_part(localization) for localization in after])),
        refused=float(np.mean(refused)),
        warned=float(np.mean(doubted) - np.mean(refused)),
        median=float(np.median(changes)),
        percentile_95=float(np.quantile(changes, 0.95)),
        area=_area(table, after),
        overlap=float(np.mean(overlaps)),
    )


def _both(localizer: Localizer, pictures: list[Pixels]) -> dict[bool, list[Localization]]:
    """Localizations of pictures, by whether their field was looked for."""
    whole = [Radiograph(pixels, "PNG") for pixels in pictures]
    found = [replace(each, exposed=find_field(each.pixels)) for each in whole]
    with_search = _localize(localizer, found)
    # Where the field is all of a picture, looking for it has changed nothing.
    parts = [row for row, each in enumerate(with_search) if _is_part(each)]
    without = list(with_search)
    for row, localization in zip(
        parts, _localize(localizer, [whole[row] for row in parts]), strict=True
    ):
        without[row] = localization
    return {True: with_search, False: without}


def _localize(localizer: Localizer, radiographs: list[Radiograph]) -> list[Localization]:
    """Localize those too that the gate would refuse: it says so among the warnings."""
    return [
        localization
        for start in range(0, len(radiographs), BATCH)
        for localization in localizer.localize_batch(radiographs[start : start + BATCH], "flag")
    ]


def _is_part(localization: Localization) -> bool:
    facts = localization.radiograph
    return (facts.field.width, facts.field.height) != (facts.width, facts.height)


def _is_refused(localization: Localization) -> bool:
    return any(doubt.disqualifying for doubt in localization.radiograph.warnings)


def _probabilities(localizations: list[Localization]) -> NDArray[np.float64]:
    """`[radiographs, 14]`, in the order of the diseases."""
    by_disease = [{f.disease: f.probability for f in each.findings} for each in localizations]
    return np.array([[each[disease] for disease in DISEASES] for each in by_disease])


def _area(table: pd.DataFrame, localizations: list[Localization]) -> float:
    labels = torch.tensor(table[list(DISEASES)].to_numpy(bool))
    return mean_area(torch.tensor(_probabilities(localizations)), labels)


def _overlaps(before: Localization, after: Localization, altered: Altered) -> list[float]:
    """Per disease with a box, the best IoU with its strongest one."""
    boxes = {f.disease: _rectangles(f.boxes, altered.x, altered.y) for f in after.findings}
    return [
        float(overlap(boxes[f.disease], _rectangles(f.boxes[:1], 0, 0))[0].max(initial=0))
        for f in before.findings
        if f.boxes
    ]


def _rectangles(boxes: tuple[Box, ...], x: float, y: float) -> list[Rectangle]:
    return [(box.x - x, box.y - y, box.width, box.height) for box in boxes]


def _enlarged(pixels: Pixels) -> Pixels:
    scale = SIDE / min(pixels.shape)
    if scale <= 1:
        return pixels
    return np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale), np.uint8)


def print_robustness(robustness: Robustness, console: Console | None = None) -> None:
    """Print the table; each pair of figures is with the field looked for / without."""
    console = console or Console(width=None if Console().is_terminal else 160)
    table = Table(
        title=f"{robustness.radiographs} validation radiographs, with / without the field",
        title_justify="left",
    )
    table.add_column("altered by")
    for column in ("field found", *COLUMNS):
        table.add_column(column, justify="right")
    for name, by_search in robustness.agreements.items():
        found, whole = by_search[True], by_search[False]
        cells = (
            f"{getattr(found, figure):{form}} / {getattr(whole, figure):{form}}"
            for figure, form in COLUMNS.values()
        )
        table.add_row(name, f"{found.fields:.0%}", *cells)
    console.print(table)


COLUMNS = {
    "|change|, median": ("median", ".4f"),
    "95th": ("percentile_95", ".3f"),
    "mean AUC": ("area", ".3f"),
    "box IoU": ("overlap", ".2f"),
    "refused": ("refused", ".0%"),
    "warned of": ("warned", ".0%"),
}
"""Of the printed table: a field of `Agreement`, and its format."""
