"""How a network's evidence becomes heat, chosen on the boxes of even patient ids."""

from collections.abc import Iterable
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from localization import DISEASES
from training.heat import PLAIN, HeatMaps, HeatSetting, fit_heat
from training.protocol import Rectangle, Target, score_localization, show

USUAL = (0.0, 1.0)
SHARED = (0.0, 0.5, 1.0, 1.5, 2.0)
LOCATION = (0.0, 0.5, 1.0, 2.0)
CONTRAST = (1.0, 2.0, 3.0, 4.0, 6.0)
FIRST_CONTRAST = 4.0
"""While the other three are chosen: it moves no peak, but boxes are drawn by it."""
RULE = (
    "one weight each for all diseases, with the largest sum of pointing game and mean IoU on the "
    "official boxes of even patient ids: shared, location and usual together, then contrast"
)


def choose_heat_setting(
    targets: list[Target],
    evidence: dict[str, NDArray[np.float32]],
    fields: dict[str, Rectangle],
    maps: NDArray[np.float32],
    labels: NDArray[np.bool_],
) -> HeatSetting:
    """See `RULE`; first the weights of the sum, then its contrast.

    Args:
        targets: of even patient ids; without any, the evidence is shown as it is.
        evidence: in logits by stem, `[14, rows, columns]`.
        fields: by stem, what the evidence covers.
        maps: evidence of the validation part, `[radiographs, 14, rows, columns]`.
        labels: of the validation part, `[radiographs, 14]`.
    """
    if not targets:
        return PLAIN

    def best(settings: Iterable[HeatSetting]) -> HeatSetting:
        return max(
            settings,
            key=lambda s: _score(targets, evidence, fields, HeatMaps(fit_heat(maps, labels, s))),
        )

    chosen = best(
        HeatSetting(shared=shared, location=location, usual=usual, contrast=FIRST_CONTRAST)
        for shared, location, usual in product(SHARED, LOCATION, USUAL)
    )
    return best(chosen._replace(contrast=contrast) for contrast in CONTRAST)


@torch.inference_mode()
def _score(
    targets: list[Target],
    evidence: dict[str, NDArray[np.float32]],
    fields: dict[str, Rectangle],
    heat: HeatMaps,
) -> float:
    stacked = torch.tensor(np.stack(list(evidence.values())))
    shown = dict(zip(evidence, heat(stacked, heat.surroundings(stacked)).numpy(), strict=True))
    scores = score_localization(
        targets,
        lambda t: show(shown[t.stem][DISEASES.index(t.disease)], field=fields[t.stem]),
    )["all boxes"]
    return float(scores["pointing game"] + scores["mean IoU"])
