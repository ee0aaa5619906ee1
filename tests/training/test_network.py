from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from localization import DISEASES
from training.geometry import first_cell_centres, resampling_matrix
from training.network import LocalizationNetwork, join_quarters, split_into_quarters
from training.pooling import AveragePooling, LogSumExpPooling
from training.recipe import Recipe


class Strided(nn.Module):
    """Convolutions of stride 2, each padded in its own way."""

    def __init__(self, depth: int, before: int, after: int) -> None:
        super().__init__()
        layers = [
            nn.Sequential(
                nn.ZeroPad2d((before, after, before, after)),
                nn.Conv2d(3 if level == 0 else 4, 4, 3, stride=2),
                nn.BatchNorm2d(4),
                nn.ReLU(),
            )
            for level in range(depth)
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [self.layers(images)]


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_where_a_cell_looks_is_measured(depth: int) -> None:
    stride = 2**depth
    # Padded on both sides, cell i looks at stride * i; padded below alone, at stride - 1 more.
    assert first_cell_centres(Strided(depth, 1, 1), [stride], 64) == pytest.approx([0], abs=1e-3)
    assert first_cell_centres(Strided(depth, 0, 1), [stride], 64) == pytest.approx(
        [stride - 1], abs=1e-3
    )


def test_padding_that_depends_on_the_side_is_measured_for_the_side() -> None:
    """A side of 112 reaches the last strided layer as 7, which is padded on both sides."""
    backbone = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=[2, 4])
    even = first_cell_centres(backbone, [8, 32], 224)
    odd = first_cell_centres(backbone, [8, 32], 112)
    assert even == pytest.approx([7, 31], abs=0.05)
    assert odd == pytest.approx([7, 15], abs=0.05)


@pytest.mark.parametrize(("before", "after"), [(1, 1), (0, 1)])
def test_a_bright_point_is_hottest_where_it_is(before: int, after: int) -> None:
    """Whatever the padding, the aligned map's centre of heat is the point's own place."""
    stride, side = 8, 256
    backbone = Strided(3, before, after)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1.0)
            nn.init.zeros_(module.bias)
    [centre] = first_cell_centres(backbone, [stride], side)
    matrix = resampling_matrix(side // stride, stride, centre, side // stride, stride)
    centres = stride * (torch.arange(side // stride) + 0.5) - 0.5
    # A point alone meets the windows unevenly; the mean over a stride of places does not.
    errors = []
    for place in range(120, 120 + stride):
        image = torch.zeros(1, 3, side, side)
        image[..., place, place] = 1.0
        heat = (matrix @ backbone.eval()(image)[0] @ matrix.T).detach().sum(dim=(0, 1, 2))
        errors.append(float((heat * centres).sum() / heat.sum()) - place)
    assert sum(errors) / len(errors) == pytest.approx(0, abs=0.1)


def test_resampling_keeps_a_constant_and_a_slope() -> None:
    finer = resampling_matrix(8, 32, 15.5, 16, 16)
    assert finer.sum(dim=1) == pytest.approx(torch.ones(16))
    slope = 32 * torch.arange(8.0) + 15.5
    inner = (finer @ slope)[1:-1]
    assert inner == pytest.approx(16 * (torch.arange(1.0, 15.0) + 0.5) - 0.5)


def test_quarters_are_joined_as_they_were_split() -> None:
    images = torch.rand(3, 2, 8, 12)
    tiles = split_into_quarters(images)
    assert tiles.shape == (12, 2, 4, 6)
    assert torch.equal(tiles[1], images[0, :, :4, 6:])
    assert torch.equal(join_quarters(tiles), images)


@pytest.fixture(scope="module")
def network(tiny_recipe: Recipe) -> LocalizationNetwork:
    torch.manual_seed(0)
    return LocalizationNetwork(tiny_recipe.network).eval()


@torch.inference_mode()
def test_maps_have_the_recipes_stride_and_a_channel_per_disease(
    network: LocalizationNetwork,
) -> None:
    logits, maps = network(torch.rand(2, 1, 96, 64))
    assert logits.shape == (2, len(DISEASES))
    assert maps.shape == (2, len(DISEASES), 6, 4)


@torch.inference_mode()
def test_a_quarter_shows_nothing_of_its_neighbours(network: LocalizationNetwork) -> None:
    images = torch.rand(1, 1, 96, 96)
    changed = images.clone()
    changed[..., 48:, 48:] = 0
    maps, others = (network.features_of_quarters(each) for each in (images, changed))
    assert torch.allclose(maps[..., :3, :], others[..., :3, :], atol=1e-6)
    assert not torch.allclose(maps[..., 3:, 3:], others[..., 3:, 3:], atol=1e-6)


def test_pooling_lies_between_mean_and_maximum() -> None:
    maps = torch.randn(2, 3, 5, 5)
    mean, most = AveragePooling()(maps), maps.amax(dim=(2, 3))
    pooled = LogSumExpPooling(3.0)(maps)
    assert bool((pooled > mean).all())
    assert bool((pooled < most).all())
    assert LogSumExpPooling(1e-3)(maps) == pytest.approx(mean, abs=1e-2)
    assert LogSumExpPooling(200.0)(maps) == pytest.approx(most, abs=0.05)


def test_frozen_layers_keep_weights_and_statistics(tiny_recipe: Recipe) -> None:
    recipe = tiny_recipe.network.model_copy(update={"frozen": ("conv_stem", "bn1")})
    network = LocalizationNetwork(recipe)
    before = {k: v.clone() for k, v in network.backbone.state_dict().items()}
    network(torch.rand(4, 1, 64, 64))[0].sum().backward()
    after = network.backbone.state_dict()
    assert torch.equal(before["bn1.running_mean"], after["bn1.running_mean"])
    assert network.backbone.conv_stem.weight.grad is None
    trained = "blocks.1.0.bn1.running_mean"
    assert not torch.equal(before[trained], after[trained])


def test_fixed_statistics_stay_while_the_weights_learn(tiny_recipe: Recipe) -> None:
    recipe = tiny_recipe.network.model_copy(update={"fixed_statistics": True})
    network = LocalizationNetwork(recipe).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network(torch.rand(4, 1, 64, 64))[0].sum().backward()
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert network.aggregation.projections[0][1].weight.grad is not None


def test_the_shipped_recipes_can_be_built() -> None:
    for name in ("cam", "lite0-msa", "lite0", "resnet50-msa", "resnet50"):
        recipe = Recipe.load(name)
        with torch.inference_mode():
            network = LocalizationNetwork(recipe.network).eval()
            side = 2 * max(network.backbone.feature_info.reduction())
            assert network(torch.rand(1, 1, side, side))[0].shape == (1, len(DISEASES))


def test_pretrained_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pth")
    recipe = Recipe.load("resnet50").network
    with pytest.raises(ValueError, match="do not fit"):
        LocalizationNetwork(recipe.model_copy(update={"weights": str(tmp_path / "weights.pth")}))


def test_an_unknown_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(FileNotFoundError, match="cam, cam-taught, lite0, lite0-msa, resnet50"):
        Recipe.load("lite1")
