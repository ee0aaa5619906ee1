import torch

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
