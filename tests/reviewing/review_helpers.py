"""A small harvest to review: four boxes of three findings in two radiographs, and a failure."""

import numpy as np

from harvesting.rows import DisagreementRow, FindingRow, RadiographRow, Rows, encode_heatmap
from localization import DISEASES, Box, Field, Finding
from reviewing.decisions import BoxId, Edges

MASS, SECOND_MASS = BoxId("a.png", "Mass", 0), BoxId("a.png", "Mass", 1)
EFFUSION, NODULE = BoxId("a.png", "Effusion", 0), BoxId("b.png", "Nodule", 0)
MINED = {
    MASS: Edges(10, 10, 20, 20),
    SECOND_MASS: Edges(50, 40, 10, 30),
    EFFUSION: Edges(0, 50, 40, 30),
    NODULE: Edges(5, 5, 6, 6),
}
THRESHOLDS = {"Mass": 0.25, "Effusion": 0.4, "Nodule": 0.4}


def _radiograph(path: str, labels: tuple[str, ...]) -> RadiographRow:
    probabilities = tuple(k / 16 for k in range(len(DISEASES)))
    field = Field(0, 0, 100, 80)
    return RadiographRow(
        path,
        "localized",
        format="PNG",
        width=100,
        height=80,
        field=field,
        image_left="unknown",
        labels=labels,
        unknown=("Edema",),
        probabilities=probabilities,
    )


def _finding(probability: float, *names: BoxId) -> FindingRow:
    of = names[0]
    heat = np.full((4, 5), 0.5, np.float32)
    threshold = THRESHOLDS[of.disease]
    boxes = tuple(
        Box(*(e.x, e.y, e.width, e.height), score=0.9 - 0.3 * place)
        for place, e in enumerate(MINED[name] for name in names)
    )
    heatmap = encode_heatmap(Finding(of.disease, probability, threshold, heat, (), heat[None]))
    return FindingRow(of.path, of.disease, probability, threshold, True, boxes, heatmap)


SHARDS = (
    Rows(
        (_radiograph("a.png", ("Mass", "Effusion")),),
        (_finding(0.125, EFFUSION), _finding(0.5, MASS, SECOND_MASS)),
        (DisagreementRow("a.png", "Effusion", 0.125, 0.4, "label-only"),),
    ),
    Rows(
        (
            _radiograph("b.png", ("Nodule",)),
            RadiographRow("c.png", "failed", "empty", "The file is empty.", labels=()),
        ),
        (_finding(0.41, NODULE),),
        (DisagreementRow("b.png", "Hernia", 0.8125, 0.5, "model-only"),),
    ),
)

BY_UNCERTAINTY = [NODULE, MASS, SECOND_MASS, EFFUSION]
