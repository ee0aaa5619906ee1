"""Shards of made-up rows, and the radiographs behind them."""

import cv2
import numpy as np

from harvesting.rows import DisagreementRow, FindingRow, RadiographRow, Rows, encode_heatmap
from localization import DISEASES, Box, Field, Finding

WIDTH, HEIGHT = 96, 64
THRESHOLD = 0.25
HEATMAP = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
HEAT = encode_heatmap(Finding("Mass", 0.5, THRESHOLD, HEATMAP, (), HEATMAP[None]))


def picture(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A gray PNG."""
    pixels = np.tile(np.linspace(60, 200, width).astype(np.uint8), (height, 1))
    _, encoded = cv2.imencode(".png", pixels)
    return encoded.tobytes()


def radiograph(
    path: str, labels: tuple[str, ...] | None = ("Mass",), probability: float = 0.5
) -> RadiographRow:
    """A localized one, whose probabilities are all the same."""
    return RadiographRow(
        path,
        "localized",
        format="PNG",
        width=WIDTH,
        height=HEIGHT,
        field=Field(0, 0, WIDTH, HEIGHT),
        image_left="unknown",
        typicality=0.5,
        labels=labels,
        probabilities=(probability,) * len(DISEASES),
    )


def failure(path: str, reason: str = "truncated") -> RadiographRow:
    return RadiographRow(path, "failed", reason, "The file ends too early.")


def finding(
    path: str,
    disease: str = "Mass",
    probability: float = 0.5,
    labelled: bool | None = True,
    boxes: tuple[Box, ...] = (Box(8.5, 4.25, 40.1, 30.3, 0.75), Box(50, 20, 12.7, 9.9, 0.5, 1)),
) -> FindingRow:
    return FindingRow(path, disease, probability, THRESHOLD, labelled, boxes, HEAT)


def dispute(path: str, disease: str, probability: float) -> DisagreementRow:
    kind = "model-only" if probability >= THRESHOLD else "label-only"
    return DisagreementRow(path, disease, probability, THRESHOLD, kind)  # type: ignore[arg-type]


def shard(number: int, count: int = 3) -> Rows:
    """Localized radiographs with a finding each, then a failure."""
    paths = [f"{number}/{k}.png" for k in range(count)]
    return Rows(
        (*(radiograph(path) for path in paths), failure(f"{number}/broken.png")),
        tuple(
            finding(path, DISEASES[k % len(DISEASES)], 0.3 + k / 1000)
            for k, path in enumerate(paths)
        ),
        (),
    )
