"""Heat maps: what a person is shown of the evidence, in [0, 1].

The evidence of one disease is weak and scattered: labels are noisy and positives few. Two things
help it to stand where the disease is. The evidence of all diseases together, learned from all
labels, tells where the radiograph is abnormal at all; and where the positives' evidence is
stronger than that of the others tells where a disease tends to be. What is usual at a place can be
taken off, and a power sets how fast weak evidence fades. All of it comes from image labels.
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from localization import DISEASES

Values = TypeVar("Values", Tensor, NDArray[np.float32])


class HeatSetting(NamedTuple):
    """How evidence becomes heat; four numbers for all diseases."""

    shared: float = 0.0
    """Weight of the mean evidence of all diseases, beside the disease's own."""
    location: float = 0.0
    """Weight of the place: how much more evidence the radiographs with the disease have there."""
    usual: float = 0.0
    """Share of the mean evidence at that place, over all radiographs, that is taken off."""
    contrast: float = 1.0
    """Power to which the sum, brought to [0, 1], is raised: large, and weak evidence fades."""


PLAIN = HeatSetting()
"""The evidence as it is: class activation mapping."""


@dataclass(frozen=True)
class HeatCalibration:
    """A setting, with what it needs to know of the validation part; per disease `[14]`."""

    setting: HeatSetting
    evidence: NDArray[np.float32]
    """The weakest and the strongest logit of any cell, `[2, 14]`: 0 and 1 of a disease's own."""
    place: NDArray[np.float32]
    """What each cell adds to the evidence, `[14, rows, columns]`."""
    total: NDArray[np.float32]
    """The least and the largest sum of any cell, `[2, 14]`: 0 and 1 of the heat map."""


class HeatMaps(nn.Module):
    """Evidence in logits to heat maps.

    A map is the same function of the evidence in every radiograph, from the least to the most that
    a disease has in any validation radiograph: values compare between radiographs of one disease.

    Args:
        calibration: of the network whose evidence it is.
    """

    def __init__(self, calibration: HeatCalibration) -> None:
        super().__init__()
        self.shared = calibration.setting.shared
        self.contrast = calibration.setting.contrast
        self.evidence: Tensor
        self.place: Tensor
        self.total: Tensor
        self.register_buffer("evidence", torch.tensor(calibration.evidence)[..., None, None])
        self.register_buffer("place", torch.tensor(calibration.place))
        self.register_buffer("total", torch.tensor(calibration.total)[..., None, None])

    def surroundings(self, maps: Tensor) -> Tensor:
        """What is added to each disease's own evidence `[batch, 14, rows, columns]`: that of all
        diseases together, and the place; of the same shape."""
        return self.shared * _within(maps, self.evidence).mean(dim=1, keepdim=True) + self.place

    def forward(self, maps: Tensor, surroundings: Tensor) -> Tensor:
        """Heat maps of the same shape, in [0, 1]."""
        total = _within(maps, self.evidence) + surroundings
        return _within(total, self.total).clamp(0, 1) ** self.contrast


def fit_heat(
    maps: NDArray[np.float32], labels: NDArray[np.bool_], setting: HeatSetting
) -> HeatCalibration:
    """What a setting needs to know.

    Args:
        maps: evidence of the validation part in logits, `[radiographs, 14, rows, columns]`.
        labels: `[radiographs, 14]`; a disease without a positive has no place of its own.
        setting: its weights.

    Raises:
        ValueError: a disease's evidence is the same in every cell of every radiograph.
    """
    evidence = _range(maps)
    if (flat := np.flatnonzero(evidence[0] == evidence[1])).size:
        raise ValueError(
            f"The evidence of {', '.join(DISEASES[d] for d in flat)} is the same everywhere."
        )
    own = _within(maps, evidence[..., None, None])
    usual, location = own.mean(axis=0), np.zeros_like(own[0])
    for disease, positive in enumerate(labels.T):
        if 0 < positive.sum() < len(positive):
            more = own[positive, disease].mean(axis=0) - own[~positive, disease].mean(axis=0)
            location[disease] = more - more.mean()
    usual = usual + setting.shared * usual.mean(axis=0)
    place = setting.location * location - setting.usual * usual
    total = _range(own + setting.shared * own.mean(axis=1, keepdims=True) + place)
    return HeatCalibration(setting, evidence, place.astype(np.float32), total)


def _range(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The least and the largest value of each disease, `[2, 14]`."""
    return np.stack([maps.min(axis=(0, 2, 3)), maps.max(axis=(0, 2, 3))])


def _within(values: Values, bounds: Values) -> Values:
    """Values as shares of the way between two bounds."""
    return (values - bounds[0]) / (bounds[1] - bounds[0])
