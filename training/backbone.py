"""The backbone: a timm network that gives feature maps, and its pretrained weights."""

import importlib
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from training.recipe import NetworkRecipe


def _pretrained_weights(source: str) -> dict[str, Tensor]:
    """A state dict from a file, or from an installed package that holds one `.pth` file."""
    if Path(source).is_file():
        return torch.load(source, map_location="cpu", weights_only=True)
    module = source.replace("-", "_").removesuffix("_model") + "_model"
    if find_spec(module) is None:
        raise FileNotFoundError(f"Weights {source!r}: no such file, no such installed package.")
    folder = Path(str(importlib.import_module(module).__file__)).parent
    [file] = folder.rglob("*.pth")
    return torch.load(file, map_location="cpu", weights_only=True)


def build_backbone(recipe: NetworkRecipe) -> nn.Module:
    """The recipe's stages of its backbone, pretrained where it says so, its frozen layers fixed.

    Raises:
        FileNotFoundError: the recipe's weights are nowhere.
        ValueError: they do not fit.
    """
    backbone = timm.create_model(recipe.backbone, features_only=True, out_indices=recipe.stages)
    if recipe.weights is not None:
        _load_in_order(backbone, _pretrained_weights(recipe.weights))
    for name in recipe.frozen:
        backbone.get_submodule(name).requires_grad_(False)
    return backbone


def _load_in_order(backbone: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load tensors by their order: other code bases name the same layers differently.

    `features_only` drops the classifier, which comes last. Shapes and the last part of each name
    (`weight`, `running_mean`, ...) must agree.
    """
    own = backbone.state_dict()
    given = dict(list(weights.items())[: len(own)])
    if _outline(own) != _outline(given):
        raise ValueError("The pretrained weights do not fit the backbone.")
    backbone.load_state_dict(dict(zip(own, given.values(), strict=True)))


def _outline(weights: dict[str, Tensor]) -> list[tuple[str, tuple[int, ...]]]:
    return [(name.rpartition(".")[2], tuple(t.shape)) for name, t in weights.items()]
