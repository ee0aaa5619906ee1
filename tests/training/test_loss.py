import pytest
import torch
from torch.nn import functional as F

from training.dataset import Batch
from training.loss import ClassBalancedLoss


def labels_with(positives: int, images: int) -> torch.Tensor:
    labels = torch.zeros(images, 1)
    labels[:positives] = 1
    return labels


def batch_of(labels: torch.Tensor, sources: torch.Tensor) -> Batch:
    return Batch(torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8), labels, sources)


def test_a_rare_disease_weighs_more() -> None:
    labels = torch.cat([labels_with(10, 1000), labels_with(300, 1000)], dim=1)
    weight = ClassBalancedLoss(labels, torch.zeros(1000, dtype=torch.long)).positive_weight
    assert weight[0] > 5 * weight[1] > 5


def test_the_rate_of_a_source_is_nothing_to_be_learned() -> None:
    """A network that predicts the same for all sources is at the loss's minimum already."""
    labels = torch.cat([labels_with(80, 100), labels_with(5, 1000)])
    sources = torch.cat([torch.zeros(100), torch.ones(1000)]).long()
    loss = ClassBalancedLoss(labels, sources, smoothing=0.0)
    per_source = torch.zeros(2, requires_grad=True)
    logits = per_source[sources][:, None]
    loss(logits, batch_of(labels, sources)).backward()
    assert per_source.grad is not None
    assert torch.allclose(per_source.grad, torch.zeros(2), atol=1e-5)


def test_a_disease_that_a_source_lacks_has_a_finite_loss() -> None:
    labels = labels_with(3, 100)
    sources = (torch.arange(100) >= 50).long()
    loss = ClassBalancedLoss(labels, sources)
    assert torch.isfinite(loss(torch.zeros(100, 1), batch_of(labels, sources)))


@pytest.fixture
def mixed() -> tuple[ClassBalancedLoss, torch.Tensor, Batch]:
    """A loss of three diseases and two sources, logits of six radiographs, their batch."""
    random = torch.Generator().manual_seed(0)
    labels = (torch.rand(200, 3, generator=random) < torch.tensor([0.05, 0.2, 0.4])).float()
    sources = torch.randint(0, 2, (200,), generator=random)
    logits = torch.randn(6, 3, generator=random)
    given = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]])
    return ClassBalancedLoss(labels, sources), logits, batch_of(given.float(), sources[:6])


def alone(
    loss: ClassBalancedLoss, logits: torch.Tensor, batch: Batch, label: int = 1
) -> torch.Tensor:
    """What `forward` adds for each pair of that label, in the order of `nonzero`."""
    rows, diseases = (batch.labels == label).nonzero().T
    z = logits[rows, diseases] + loss.prior[batch.sources[rows], diseases]
    return loss.positive_weight[diseases] * F.softplus(-z) if label else F.softplus(z)


def test_a_labelled_pair_counts_as_it_does_in_the_whole_batch(
    mixed: tuple[ClassBalancedLoss, torch.Tensor, Batch],
) -> None:
    loss, logits, batch = mixed
    pairs = batch.labels.nonzero()
    assert torch.allclose(loss.of_pairs(logits[*pairs.T], pairs, batch), alone(loss, logits, batch))


def test_a_pair_without_the_label_weighs_as_much_as_one_with_it(
    mixed: tuple[ClassBalancedLoss, torch.Tensor, Batch],
) -> None:
    loss, logits, batch = mixed
    pairs = (1 - batch.labels).nonzero()
    in_the_batch = alone(loss, logits, batch, label=0)
    expected = in_the_batch * loss.positive_weight[pairs[:, 1]]
    assert torch.allclose(loss.of_pairs(logits[*pairs.T], pairs, batch), expected)


def test_the_pairs_of_a_batch_sum_up_to_its_loss(
    mixed: tuple[ClassBalancedLoss, torch.Tensor, Batch],
) -> None:
    loss, logits, batch = mixed
    every = torch.ones_like(logits).nonzero()
    of_pairs = loss.of_pairs(logits.flatten(), every, batch).view_as(logits)
    weighed = torch.where(batch.labels == 1, of_pairs, of_pairs / loss.positive_weight)
    assert torch.allclose(weighed.mean(), loss(logits, batch))


def test_a_pair_is_asked_for_what_its_label_says(
    mixed: tuple[ClassBalancedLoss, torch.Tensor, Batch],
) -> None:
    """The loss of a radiograph with the disease falls as its logit rises, of a foil as it falls."""
    loss, _, batch = mixed
    pairs = torch.tensor([[0, 0], [1, 0], [1, 2], [5, 1]])
    logits = torch.zeros(4, requires_grad=True)
    loss.of_pairs(logits, pairs, batch).sum().backward()
    assert logits.grad is not None
    assert logits.grad.sign().tolist() == [-1, 1, -1, 1]
