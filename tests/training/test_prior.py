"""Evidence is asked to lie where a disease was mined, however its radiograph was varied."""

from typing import Any

import pytest
import torch
from torch import Tensor

from training.augmentation import augment
from training.prior import Mined, MinedMasks, move_masks, prior_loss
from training.recipe import AugmentationRecipe

SHARPNESS = 3.0
PAIR = torch.tensor([[0, 1]])
STILL = dict.fromkeys(AugmentationRecipe.model_fields, 0.0)


def evidence(row: int, column: int) -> Tensor:
    """Two diseases' maps of one radiograph; the second one peaks at one cell."""
    maps = torch.zeros(1, 2, 8, 8)
    maps[0, 1, row, column] = 3.0
    return maps


def box(rows: slice, columns: slice, side: int = 64) -> Tensor:
    """A mask, uint8 `[1, side, side]`, in cells of eight to a side."""
    cell = side // 8
    mask = torch.zeros(1, 8, 8, dtype=torch.uint8)
    mask[0, rows, columns] = 255
    return mask.repeat_interleave(cell, 1).repeat_interleave(cell, 2)


INSIDE = box(slice(2, 4), slice(5, 7)) / 255


def test_evidence_inside_is_cheaper_than_outside() -> None:
    inside = prior_loss(evidence(3, 5), PAIR, INSIDE, SHARPNESS)
    outside = prior_loss(evidence(6, 1), PAIR, INSIDE, SHARPNESS)
    assert inside < 0.1
    assert outside > 3


def test_it_is_the_share_of_the_evidence() -> None:
    """A flat map has a sixteenth of its evidence in four of 64 cells."""
    loss = prior_loss(torch.full((1, 2, 8, 8), 7.0), PAIR, INSIDE, SHARPNESS)
    assert float(loss) == pytest.approx(float(torch.tensor(16.0).log()))


def test_all_of_the_radiograph_asks_for_nothing() -> None:
    loss = prior_loss(evidence(6, 1), PAIR, torch.ones(1, 64, 64), SHARPNESS)
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_a_box_that_counts_half_draws_less() -> None:
    both = INSIDE + 0.5 * box(slice(6, 7), slice(1, 2)) / 255
    best = prior_loss(evidence(3, 5), PAIR, both, SHARPNESS)
    lesser = prior_loss(evidence(6, 1), PAIR, both, SHARPNESS)
    outside = prior_loss(evidence(0, 0), PAIR, both, SHARPNESS)
    assert best < lesser < outside


def test_its_gradient_carries_the_evidence_into_the_box() -> None:
    maps = evidence(6, 1).requires_grad_()
    for _ in range(200):
        (gradient,) = torch.autograd.grad(prior_loss(maps, PAIR, INSIDE, SHARPNESS), maps)
        assert not gradient[0, 0].any(), "the other disease is not asked for"
        maps = (maps - 0.2 * gradient).detach().requires_grad_()
    row, column = divmod(int(maps[0, 1].argmax()), 8)
    assert 2 <= row < 4
    assert 5 <= column < 7


def test_far_outside_the_loss_is_finite() -> None:
    maps = (100 * evidence(6, 1)).requires_grad_()
    loss = prior_loss(maps, PAIR, INSIDE, SHARPNESS)
    loss.backward()
    assert loss.isfinite()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize(
    ("pairs", "masks"),
    [(PAIR, torch.zeros(1, 64, 64)), (PAIR[:0], torch.zeros(0, 64, 64))],
    ids=["moved out of sight", "none mined"],
)
def test_nothing_mined_asks_for_nothing(pairs: Tensor, masks: Tensor) -> None:
    assert prior_loss(evidence(3, 5), pairs, masks, SHARPNESS) == 0


@pytest.mark.parametrize(
    "varied",
    [
        {},
        {"flip": 1.0},
        {"rotation": 30.0},
        {"scale": 0.3},
        {"translation": 0.1},
        {"flip": 0.5, "rotation": 10.0, "scale": 0.15, "translation": 0.08},
    ],
    ids=["still", "flip", "rotation", "scale", "translation", "all"],
)
@pytest.mark.parametrize("side", [64, 96])
def test_masks_move_with_their_radiographs(varied: dict[str, Any], side: int) -> None:
    """Of a radiograph that is its own mask, the two stay the same."""
    torch.manual_seed(0)
    masks = box(slice(2, 4), slice(4, 6)).repeat(6, 1, 1)
    images, motion = augment(masks[:, None], AugmentationRecipe(**(STILL | varied)), side)
    moved = move_masks(masks, motion, side)
    torch.testing.assert_close(moved, images[:, 0])
    unmoved = move_masks(masks, torch.eye(3)[:2].repeat(6, 1, 1), side)
    assert torch.equal(moved, unmoved) == (not varied)


def test_a_flipped_mask_is_on_the_other_side() -> None:
    masks = box(slice(2, 4), slice(5, 7))
    _, motion = augment(masks[:, None], AugmentationRecipe(**(STILL | {"flip": 1.0})), 64)
    torch.testing.assert_close(move_masks(masks, motion, 64), masks.flip(-1) / 255)


def test_beyond_the_border_nothing_was_mined() -> None:
    everywhere = torch.full((1, 64, 64), 255, dtype=torch.uint8)
    shifted = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
    moved = move_masks(everywhere, shifted, 64)
    assert moved[0, :, :31].min() == 1
    assert moved[0, :, 33:].max() == 0


def test_no_masks_are_moved_to_no_masks() -> None:
    assert move_masks(torch.zeros(0, 64, 64), torch.zeros(0, 2, 3), 96).shape == (0, 96, 96)


def test_a_batch_gets_the_masks_of_its_rows_in_its_order() -> None:
    masks = torch.arange(4, dtype=torch.uint8)[:, None, None].expand(4, 2, 2)
    part = MinedMasks(torch.tensor([[0, 3], [2, 1], [2, 5], [7, 0]]), masks)
    pairs, chosen = part.of([7, 1, 2])
    assert pairs.tolist() == [[0, 0], [2, 1], [2, 5]]
    assert chosen[:, 0, 0].tolist() == [3, 1, 2]
    nothing = part.of([1])
    assert isinstance(nothing, Mined)
    assert nothing.pairs.shape == (0, 2)
    assert nothing.masks.shape == (0, 2, 2)
