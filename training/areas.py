"""The area under the ROC curve, per disease and as a mean."""

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc


def disease_areas(scores: Tensor, labels: Tensor) -> list[float | None]:
    """AUC of each column; None where a disease has no positive or no negative.

    Args:
        scores: float `[radiographs, diseases]`, larger where the disease is likelier.
        labels: of the same shape, 0 or 1.
    """
    areas: list[float | None] = []
    for score, truth in zip(scores.T, labels.long().T, strict=True):
        possible = 0 < int(truth.sum()) < len(truth)
        areas.append(float(binary_auroc(score, truth)) if possible else None)
    return areas


def mean_area(scores: Tensor, labels: Tensor) -> float:
    """Mean of `disease_areas` over the diseases that have one; 0.5 where none has."""
    known = [area for area in disease_areas(scores, labels) if area is not None]
    return float(torch.tensor(known).mean()) if known else 0.5
