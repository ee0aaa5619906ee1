"""The network: a backbone, multi-scale aggregation (MSA), a heat map per disease, and pooling."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from localization import DISEASES
from training.backbone import build_backbone
from training.geometry import first_cell_centres, resampling_matrix
from training.pooling import AveragePooling, LogSumExpPooling
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


def _channels(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values)[None, :, None, None]


class SpatialContext(nn.Module):
    """Lets a cell of the aggregated map see its neighbours; begins as the identity.

    What the cells beside a hidden region say depends on it through this module alone, so it is
    what a mining step runs again. It has no batch normalisation, whose statistics hidden maps
    would shift.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.activation = nn.ReLU()
        self.mix = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.mix.weight)
        assert self.mix.bias is not None
        nn.init.zeros_(self.mix.bias)

    def forward(self, features: Tensor) -> Tensor:
        """`[batch, width, rows, columns]` -> the same shape."""
        return features + self.mix(self.activation(self.around(features)))


class LocalizationNetwork(nn.Module):
    """A heat map of logits per disease, learned from image labels alone.

    Three parts: `features` (backbone and aggregation), `evidence` (a map per disease) and `pool`,
    which turns maps into the logits that the labels supervise, so whatever raises a disease's
    probability stands somewhere on its map.
    """

    def __init__(self, recipe: NetworkRecipe, diseases: int = len(DISEASES)) -> None:
        super().__init__()
        self.recipe = recipe
        self.backbone = build_backbone(recipe)
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
        self.context = SpatialContext(width, recipe.context) if recipe.context else nn.Identity()
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
        """As `nn.Module.train`, but what is frozen or fixed keeps its batch statistics."""
        super().train(mode)
        for name in self.recipe.frozen:
            self.backbone.get_submodule(name).eval()
        if self.recipe.fixed_statistics:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def features(self, radiographs: Tensor) -> Tensor:
        """The aggregated map.

        Args:
            radiographs: float `[batch, 1, height, width]` in [0, 1], sides multiples of the
                recipe's stride.

        Returns:
            float `[batch, width, height / stride, width / stride]`.
        """
        height, width = radiographs.shape[-2:]
        images = (radiographs - self.mean) / self.deviation
        stages = self.backbone(images.contiguous(memory_format=torch.channels_last))
        return self.aggregation(stages, self._places(height, width))

    def features_of_quarters(self, radiographs: Tensor) -> Tensor:
        """As `features`, but the backbone sees each quarter of a radiograph on its own.

        A deep cell's receptive field spans the whole chest, so its evidence need not lie under
        it. A quarter holds no evidence of its neighbours. Sides are multiples of twice the
        recipe's stride.
        """
        return join_quarters(self.features(split_into_quarters(radiographs)))

    def evidence(self, features: Tensor) -> Tensor:
        """Heat maps of logits `[batch, diseases, rows, columns]` of an aggregated map."""
        return self.head(self.dropout(self.context(features)))

    def evidence_of(self, features: Tensor, diseases: Tensor) -> Tensor:
        """One disease's map of each aggregated map, as when something is hidden from it alone.

        Args:
            features: float `[maps, width, rows, columns]`.
            diseases: long `[maps]`, which disease is asked for.

        Returns:
            float `[maps, rows, columns]`.
        """
        seen = self.dropout(self.context(features))
        weight, bias = self.head.weight[diseases, :, 0, 0], self.head.bias[diseases]
        return (weight[:, None] @ seen.flatten(2)).unflatten(2, seen.shape[-2:])[:, 0] + bias[
            :, None, None
        ]

    def forward(self, radiographs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[batch, diseases]` and the maps that they were pooled from."""
        maps = self.evidence(self.features(radiographs))
        return self.pool(maps), maps

    def look_twice(self, radiographs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, maps and aggregated map, each the mean over radiograph and mirror image."""
        features = self.features(torch.cat([radiographs, radiographs.flip(-1)]))
        maps = self.evidence(features)
        return (
            self.pool(maps).unflatten(0, (2, -1)).mean(dim=0),
            _mean_of_both_ways(maps),
            _mean_of_both_ways(features),
        )

    def _places(self, height: int, width: int) -> list[Places]:
        cells = height // self.recipe.stride, width // self.recipe.stride
        centres = zip(self._centres(height), self._centres(width), strict=True)
        return [Places(centre, cells) for centre in centres]

    def _centres(self, side: int) -> list[float]:
        """Each stage's first centre along an axis of this length, measured on first use."""
        if side not in self._first_centres:
            self._first_centres[side] = first_cell_centres(self.backbone, self.strides, side)
        return self._first_centres[side]


def _mean_of_both_ways(maps: Tensor) -> Tensor:
    """Maps of radiographs, then of their mirror images, `[2 * batch, ...]` -> `[batch, ...]`."""
    straight, mirrored = maps.unflatten(0, (2, -1))
    return (straight + mirrored.flip(-1)) / 2


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
