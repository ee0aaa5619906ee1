"""The network: a backbone, multi-scale aggregation, a heat map per disease, and pooling."""

import importlib
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from localization import DISEASES
from training.geometry import first_cell_centres, resampling_matrix
from training.recipe import NetworkRecipe


class MultiScaleAggregation(nn.Module):
    """Late stages of a backbone brought to one stride, each cell to its true place, and added.

    Args:
        channels: of each stage.
        strides: of each stage, in input pixels.
        first_centres: see `training.geometry.first_cell_centres`.
        stride: of the aggregated map.
        width: channels of the aggregated map.
    """

    def __init__(
        self,
        channels: list[int],
        strides: list[int],
        first_centres: list[float],
        stride: int,
        width: int,
    ) -> None:
        super().__init__()
        self.strides, self.first_centres, self.stride = strides, first_centres, stride
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(count, width, 1, bias=False), nn.BatchNorm2d(width))
            for count in channels
        )
        self.activation = nn.ReLU()

    def forward(self, features: list[Tensor], rows: int, columns: int) -> Tensor:
        """Stages `[batch, channels, *, *]` -> `[batch, width, rows, columns]`."""
        aligned = [
            projection(align(feature, stride, centre, rows, columns, self.stride))
            for projection, feature, stride, centre in zip(
                self.projections, features, self.strides, self.first_centres, strict=True
            )
        ]
        return self.activation(torch.stack(aligned).sum(dim=0))


class LastStage(nn.Module):
    """One stage as it is, each cell in its true place: what plain CAM looks at."""

    def __init__(self, stride: int, first_centre: float, target_stride: int) -> None:
        super().__init__()
        self.stride, self.first_centre, self.target_stride = stride, first_centre, target_stride

    def forward(self, features: list[Tensor], rows: int, columns: int) -> Tensor:
        """One stage `[batch, channels, *, *]` -> `[batch, channels, rows, columns]`."""
        [feature] = features
        return align(feature, self.stride, self.first_centre, rows, columns, self.target_stride)


def align(
    feature: Tensor, stride: int, first_centre: float, rows: int, columns: int, target_stride: int
) -> Tensor:
    """Carry a feature map to cells that tile the input evenly; see `resampling_matrix`."""
    height, width = feature.shape[-2:]
    down = resampling_matrix(height, stride, first_centre, rows, target_stride).to(feature)
    across = resampling_matrix(width, stride, first_centre, columns, target_stride).to(feature)
    return down @ feature @ across.T


class LogSumExpPooling(nn.Module):
    """A smooth maximum over a map, `log(mean(exp(r x))) / r` (Pinheiro & Collobert 2015, eq. 6).

    Wang et al. 2017 (eq. 2) use it for ChestX-ray14.
    """

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, maps: Tensor) -> Tensor:
        """`[batch, diseases, rows, columns]` -> `[batch, diseases]`."""
        scaled = self.sharpness * maps.flatten(2)
        mean = scaled.logsumexp(dim=2) - torch.log(torch.tensor(float(scaled.shape[2])))
        return mean / self.sharpness


class AveragePooling(nn.Module):
    """The mean over a map: with the last stage alone, class activation mapping (Zhou 2016)."""

    def forward(self, maps: Tensor) -> Tensor:
        """`[batch, diseases, rows, columns]` -> `[batch, diseases]`."""
        return maps.flatten(2).mean(dim=2)


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


def _build_backbone(recipe: NetworkRecipe) -> nn.Module:
    backbone = timm.create_model(recipe.backbone, features_only=True, out_indices=recipe.stages)
    if recipe.weights is not None:
        _load_in_order(backbone, _pretrained_weights(recipe.weights))
    for name in recipe.frozen:
        backbone.get_submodule(name).requires_grad_(False)
    return backbone


def _load_in_order(backbone: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load tensors by their order: other code bases name the same layers differently.

    `features_only` drops the classifier, which comes last; a wrong order shows in the shapes.
    """
    own = backbone.state_dict()
    given = list(weights.values())[: len(own)]
    if [tuple(t.shape) for t in own.values()] != [tuple(t.shape) for t in given]:
        raise ValueError("The pretrained weights do not fit the backbone.")
    backbone.load_state_dict(dict(zip(own, given, strict=True)))


class LocalizationNetwork(nn.Module):
    """A heat map of logits per disease, learned from image labels alone.

    `pool` turns the maps into the logits that the labels supervise, so whatever raises a
    disease's probability stands somewhere on its map.
    """

    def __init__(self, recipe: NetworkRecipe, diseases: int = len(DISEASES)) -> None:
        super().__init__()
        self.recipe = recipe
        self.backbone = _build_backbone(recipe)
        channels = self.backbone.feature_info.channels()
        strides = self.backbone.feature_info.reduction()
        centres = first_cell_centres(self.backbone, strides)
        if len(channels) > 1:
            self.aggregation: nn.Module = MultiScaleAggregation(
                channels, strides, centres, recipe.stride, recipe.width
            )
        else:
            self.aggregation = LastStage(strides[0], centres[0], recipe.stride)
        width = recipe.width if len(channels) > 1 else channels[0]
        self.dropout = nn.Dropout2d(recipe.dropout)
        self.head = nn.Conv2d(width, diseases, 1)
        self.pool = (
            LogSumExpPooling(recipe.sharpness)
            if recipe.pooling == "log-sum-exp"
            else AveragePooling()
        )
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        self.train()

    def train(self, mode: bool = True) -> "LocalizationNetwork":
        """As `nn.Module.train`, but frozen layers keep their batch statistics."""
        super().train(mode)
        for name in self.recipe.frozen:
            self.backbone.get_submodule(name).eval()
        return self

    def maps(self, radiographs: Tensor) -> Tensor:
        """Heat maps of logits.

        Args:
            radiographs: float `[batch, 1, height, width]` in [0, 1]; sides are multiples of the
                recipe's stride.

        Returns:
            float `[batch, diseases, height / stride, width / stride]`.
        """
        height, width = radiographs.shape[-2:]
        images = (radiographs * 2 - 1).expand(-1, 3, -1, -1)
        features = self.backbone(images.contiguous(memory_format=torch.channels_last))
        stride = self.recipe.stride
        aggregated = self.aggregation(features, height // stride, width // stride)
        return self.head(self.dropout(aggregated))

    def forward(self, radiographs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[batch, diseases]` and the maps that they were pooled from; see `maps`."""
        maps = self.maps(radiographs)
        return self.pool(maps), maps

    def forward_tiled(self, radiographs: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, but the network sees each quarter of a radiograph on its own.

        A deep cell's receptive field spans the whole chest, so its evidence need not lie under
        it. A quarter holds no evidence of its neighbours: what the map shows in it was in it.
        """
        maps = join_quarters(self.maps(split_into_quarters(radiographs)))
        return self.pool(maps), maps


def split_into_quarters(images: Tensor) -> Tensor:
    """`[batch, channels, height, width]` -> `[4 * batch, channels, height / 2, width / 2]`."""
    batch, channels, height, width = images.shape
    tiles = images.reshape(batch, channels, 2, height // 2, 2, width // 2)
    return tiles.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, height // 2, width // 2)


def join_quarters(tiles: Tensor) -> Tensor:
    """The inverse of `split_into_quarters`."""
    count, channels, height, width = tiles.shape
    images = tiles.reshape(count // 4, 2, 2, channels, height, width)
    return images.permute(0, 3, 1, 4, 2, 5).reshape(count // 4, channels, height * 2, width * 2)
