"""The network: a backbone, multi-scale aggregation, a heat map per disease, and pooling."""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import timm
import torch
from torch import Tensor, nn

from localization import DISEASES
from training.geometry import first_cell_centres, resampling_matrix
from training.recipe import NetworkRecipe


class Places(NamedTuple):
    """Where a stage's cells look, and where the aggregated map's shall; rows, then columns."""

    first_centre: tuple[float, float]
    """Input pixels; see `training.geometry.first_cell_centres`."""
    cells: tuple[int, int]
    """Of the aggregated map."""


class MultiScaleAggregation(nn.Module):
    """Late stages of a backbone brought to one stride, each cell to its true place, and added.

    Args:
        channels: of each stage.
        strides: of each stage, in input pixels.
        stride: of the aggregated map.
        width: channels of the aggregated map.
    """

    def __init__(
        self,
        channels: list[int],
        strides: list[int],
        stride: int,
        width: int,
    ) -> None:
        super().__init__()
        self.strides, self.stride = strides, stride
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(count, width, 1, bias=False), nn.BatchNorm2d(width))
            for count in channels
        )
        self.activation = nn.ReLU()

    def forward(self, features: list[Tensor], places: list[Places]) -> Tensor:
        """Stages `[batch, channels, *, *]` -> `[batch, width, rows, columns]`."""
        aligned = [
            projection(align(feature, stride, place, self.stride))
            for projection, feature, stride, place in zip(
                self.projections, features, self.strides, places, strict=True
            )
        ]
        return self.activation(torch.stack(aligned).sum(dim=0))


class LastStage(nn.Module):
    """One stage as it is, each cell in its true place: what plain CAM looks at."""

    def __init__(self, source_stride: int, stride: int) -> None:
        super().__init__()
        self.source_stride, self.stride = source_stride, stride

    def forward(self, features: list[Tensor], places: list[Places]) -> Tensor:
        """One stage `[batch, channels, *, *]` -> `[batch, channels, rows, columns]`."""
        [feature], [place] = features, places
        return align(feature, self.source_stride, place, self.stride)


def align(feature: Tensor, source_stride: int, places: Places, stride: int) -> Tensor:
    """Carry a feature map to cells that tile the input evenly; see `resampling_matrix`."""
    (height, width), (top, left) = feature.shape[-2:], places.first_centre
    rows, columns = places.cells
    down = resampling_matrix(height, source_stride, top, rows, stride).to(feature)
    across = resampling_matrix(width, source_stride, left, columns, stride).to(feature)
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


def _channels(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values)[None, :, None, None]


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


class LocalizationNetwork(nn.Module):
    """A heat map of logits per disease, learned from image labels alone.

    `pool` turns the maps into the logits that the labels supervise, so whatever raises a
    disease's probability stands somewhere on its map.
    """

    def __init__(self, recipe: NetworkRecipe, diseases: int = len(DISEASES)) -> None:
        super().__init__()
        self.recipe = recipe
        self.backbone = _build_backbone(recipe)
        # What the backbone's pretrained weights saw, in its three colour channels.
        self.mean: Tensor
        self.deviation: Tensor
        normalisation = self.backbone.default_cfg
        self.register_buffer("mean", _channels(normalisation["mean"]), persistent=False)
        self.register_buffer("deviation", _channels(normalisation["std"]), persistent=False)
        channels = self.backbone.feature_info.channels()
        self.strides = self.backbone.feature_info.reduction()
        self.aggregation = (
            MultiScaleAggregation(channels, self.strides, recipe.stride, recipe.width)
            if len(channels) > 1
            else LastStage(self.strides[0], recipe.stride)
        )
        width = recipe.width if len(channels) > 1 else channels[0]
        self._first_centres: dict[int, list[float]] = {}
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
            radiographs: float `[batch, 1, height, width]` in [0, 1], sides multiples of the
                recipe's stride (`forward_tiled`: of its double).

        Returns:
            float `[batch, diseases, height / stride, width / stride]`.
        """
        height, width = radiographs.shape[-2:]
        images = (radiographs - self.mean) / self.deviation
        features = self.backbone(images.contiguous(memory_format=torch.channels_last))
        aggregated = self.aggregation(features, self._places(height, width))
        return self.head(self.dropout(aggregated))

    def _places(self, height: int, width: int) -> list[Places]:
        cells = height // self.recipe.stride, width // self.recipe.stride
        centres = zip(self._centres(height), self._centres(width), strict=True)
        return [Places(centre, cells) for centre in centres]

    def _centres(self, side: int) -> list[float]:
        """Each stage's first centre along an axis of this length, measured on first use."""
        if side not in self._first_centres:
            self._first_centres[side] = first_cell_centres(self.backbone, self.strides, side)
        return self._first_centres[side]

    def forward(self, radiographs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[batch, diseases]` and the maps that they were pooled from; see `maps`."""
        maps = self.maps(radiographs)
        return self.pool(maps), maps

    def forward_mirrored(self, radiographs: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, the mean over the radiograph and its mirror image."""
        logits, maps = self(torch.cat([radiographs, radiographs.flip(-1)]))
        straight, mirrored = maps.unflatten(0, (2, -1))
        return logits.unflatten(0, (2, -1)).mean(0), (straight + mirrored.flip(-1)) / 2

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
