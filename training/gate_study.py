"""What the gate makes of radiographs as they are, turned and inverted, by their pixels alone."""

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from localization import Localizer, Radiograph, RadiographRefused, find_field
from training.dataset import ChestXray14, read_radiograph

Pixels = NDArray[np.uint8]

WAYS: dict[str, Callable[[Pixels], Pixels]] = {
    "as they are": lambda pixels: pixels,
    "turned to the left": lambda pixels: np.rot90(pixels),
    "turned to the right": lambda pixels: np.rot90(pixels, 3),
    "upside down": lambda pixels: np.rot90(pixels, 2),
    "inverted": lambda pixels: 255 - pixels,
}


def measure_gate(localizer: Localizer, data: ChestXray14) -> dict[str, Counter[str]]:
    """Count what is `refused`, `flagged` and `passed` of the test part, each way.

    Args:
        localizer: whose bundle's limits were chosen on the validation part.
        data: the official files.
    """
    counts: dict[str, Counter[str]] = {way: Counter() for way in WAYS}
    for file in tqdm(data.part("test")["file"], desc="Gate", unit="img"):
        pixels = read_radiograph(file).pixels
        for way, turn in WAYS.items():
            counts[way][_outcome(localizer, np.ascontiguousarray(turn(pixels)))] += 1
    return counts


def _outcome(localizer: Localizer, pixels: Pixels) -> str:
    radiograph = Radiograph(pixels, "PNG", exposed=find_field(pixels))
    outputs = localizer.infer(localizer.prepare([radiograph]))
    try:
        [localization] = localizer.interpret([radiograph], outputs, "none", "refuse")
    except RadiographRefused:
        return "refused"
    return "flagged" if localization.radiograph.warnings else "passed"


def print_gate(counts: dict[str, Counter[str]]) -> None:
    """Print the shares in per cent."""
    outcomes = ("refused", "flagged", "passed")
    table = Table("radiographs of the test part", *(f"{each} %" for each in outcomes))
    for way, count in counts.items():
        shares = (100 * count[each] / count.total() for each in outcomes)
        table.add_row(way, *(f"{share:.2f}" for share in shares))
    Console().print(table)
