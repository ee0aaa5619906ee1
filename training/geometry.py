"""Where on the radiograph a cell of a feature map looks.

Strided convolutions move a cell's view: by half a stride to the upper left where the padding is
symmetric, to the lower right where it is TensorFlow's. At stride 32 that is a nodule's width.
"""

import copy
import math
from functools import lru_cache

import torch
from torch import Tensor, nn

MARGIN = 1024
"""Pixels: more than the deepest receptive field, and a multiple of every stride's double."""


@torch.no_grad()
def _linearised(backbone: nn.Module) -> nn.Module:
    """A copy that averages: every influence is positive, so its centroid is the field's centre."""
    linear = copy.deepcopy(backbone).eval().cpu().float()
    for module in linear.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.fill_(1.0 / module.weight[0].numel())
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            module.reset_running_stats()
    return linear


def first_cell_centres(backbone: nn.Module, strides: list[int], side: int) -> list[float]:
    """Receptive-field centre of cell 0 of each feature map, in input pixels (0 = first pixel).

    Cell `i` of stage `s` looks at `centre[s] + strides[s] * i`, along rows and columns alike. It
    is measured in the middle of a larger image, where no border cuts the field, and carried back
    to cell 0. Padding of TensorFlow's kind depends on whether the side of each stage's input is
    even, so the larger image adds a multiple of every stride's double.

    Args:
        backbone: maps `[1, 3, side, side]` to one feature map `[1, channels, rows, columns]`
            per stage.
        strides: input pixels from cell to cell, per stage.
        side: of the input, in pixels.

    Raises:
        ValueError: the backbone is not made of convolutions and batch normalisations, so that
            the centre cannot be measured.
    """
    measured = side + MARGIN
    positions = torch.arange(measured, dtype=torch.float64)
    with torch.inference_mode(False), torch.enable_grad():
        linear = _linearised(backbone)
        image = torch.full((1, 3, measured, measured), 1e-2, requires_grad=True)
        features = linear(image)
        centres = []
        for feature, stride in zip(features, strides, strict=True):
            cell = feature.shape[-1] // 2
            (gradient,) = torch.autograd.grad(
                feature[0, :, cell, cell].sum(), image, retain_graph=True
            )
            influence = gradient.double().sum(dim=(0, 1, 2))
            centres.append(float((influence * positions).sum() / influence.sum()) - stride * cell)
    if not all(math.isfinite(centre) for centre in centres):
        raise ValueError("Where this backbone's cells look cannot be measured.")
    return centres


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def resampling_matrix(
    cells: int, stride: int, first_centre: float, target_cells: int, target_stride: int
) -> Tensor:
    """Weights that carry one axis of a feature map to the cells of the aggregated map.

    A triangle as wide as the coarser of the two strides: linear interpolation towards a finer
    map, an anti-aliased mean towards a coarser one. The target's cells tile the input evenly.

    Returns:
        float32 `[target_cells, cells]`; rows sum to 1.
    """
    source = first_centre + stride * torch.arange(cells, dtype=torch.float64)
    target = target_stride * (torch.arange(target_cells, dtype=torch.float64) + 0.5) - 0.5
    # Beyond the outermost centres the edge cell stands for what lies outside.
    target = target.clamp(float(source[0]), float(source[-1]))
    reach = max(stride, target_stride)
    weights = (1 - (target[:, None] - source[None, :]).abs() / reach).clamp(min=0)
    return (weights / weights.sum(dim=1, keepdim=True)).float()
