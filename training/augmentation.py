"""How a training radiograph is varied: in one batch, on the device that trains."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from training.recipe import AugmentationRecipe


def augment(radiographs: Tensor, recipe: AugmentationRecipe, side: int) -> tuple[Tensor, Tensor]:
    """Vary a batch and bring it to the network's input side.

    Args:
        radiographs: uint8 `[batch, 1, *, *]`.
        recipe: how far.
        side: of the result, in pixels.

    Returns:
        float `[batch, 1, side, side]` in [0, 1], and how each was moved: float `[batch, 2, 3]`, as
        `affine_grid` takes it, from places in the result to places in the radiograph.
    """
    images = _blur(radiographs.float() / 255, recipe.blur)
    motion = _draw_motion(images, recipe)
    grid = F.affine_grid(motion, [len(images), 1, side, side], align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return _change_tones(images, recipe), motion


def enlarge(radiographs: Tensor, side: int) -> Tensor:
    """Bring a batch to the network's input side, unvaried: float `[batch, 1, side, side]`."""
    return F.interpolate(
        radiographs.float() / 255, size=(side, side), mode="bilinear", align_corners=False
    )


def _uniform(batch: Tensor, low: float, high: float) -> Tensor:
    return torch.empty(len(batch), device=batch.device).uniform_(low, high)


def _blur(images: Tensor, share: float) -> Tensor:
    """Half the resolution, mixed in by a random amount: sharpness is to say nothing."""
    halved = F.avg_pool2d(images, 2)
    soft = F.interpolate(halved, size=images.shape[-2:], mode="bilinear", align_corners=False)
    amount = _uniform(images, 0, 1) * (_uniform(images, 0, 1) < share)
    return torch.lerp(images, soft, amount[:, None, None, None])


def _draw_motion(images: Tensor, recipe: AugmentationRecipe) -> Tensor:
    """Flip, rotate, scale and shift; what comes from beyond the border repeats the border."""
    angle = _uniform(images, -1, 1) * math.radians(recipe.rotation)
    scale = 1 + _uniform(images, -1, 1) * recipe.scale
    mirror = torch.where(_uniform(images, 0, 1) < recipe.flip, -1.0, 1.0)
    shift = 2 * recipe.translation
    rows = [
        torch.stack(
            [mirror * scale * angle.cos(), -scale * angle.sin(), _uniform(images, -shift, shift)], 1
        ),
        torch.stack(
            [mirror * scale * angle.sin(), scale * angle.cos(), _uniform(images, -shift, shift)], 1
        ),
    ]
    return torch.stack(rows, 1)


def _change_tones(images: Tensor, recipe: AugmentationRecipe) -> Tensor:
    gain = 1 + _uniform(images, -1, 1) * recipe.contrast
    offset = _uniform(images, -1, 1) * recipe.brightness
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    changed = (images - mean) * gain[:, None, None, None] + mean + offset[:, None, None, None]
    return changed.clamp(0, 1)
