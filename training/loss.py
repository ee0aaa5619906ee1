"""The classification loss: balanced between the classes, blind to where an image came from."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.dataset import Batch


class ClassBalancedLoss(nn.Module):
    """Binary cross-entropy with class-balanced weights and a known prior per source.

    A positive of a disease weighs `effective(negatives) / effective(positives)`, with the
    effective number of samples `(1 - beta^n) / (1 - beta)` of Cui et al., CVPR 2019 (eq. 2).

    Images of different sources (native sides) carry a disease at very different rates, and a
    network that tells the sources apart, by their sharpness for one, predicts the rate in place
    of the disease. So the loss is told the rate: it adds the (weighted) log odds of the disease
    in the image's source to the logit. What the source explains is explained already; only what
    tells the radiographs of one source apart is left to learn. Nothing is added at inference.

    Args:
        labels: float `[images, diseases]` of the training part.
        sources: long `[images]`.
        beta: 0 weighs by nothing, towards 1 by the inverse frequency.
        smoothing: images of the overall rate that are added to each source's count.
    """

    def __init__(
        self, labels: Tensor, sources: Tensor, beta: float = 0.999, smoothing: float = 20.0
    ) -> None:
        super().__init__()
        positives = labels.sum(dim=0).clamp(min=1)
        negatives = (len(labels) - positives).clamp(min=1)
        weight = (1 - beta**negatives) / (1 - beta**positives)
        rate = positives / len(labels)
        odds = []
        for source in range(int(sources.max()) + 1):
            chosen = labels[sources == source]
            ill = chosen.sum(dim=0) + smoothing * rate
            well = (1 - chosen).sum(dim=0) + smoothing * (1 - rate)
            odds.append((weight * ill / well.clamp(min=1e-6)).log())
        self.positive_weight: Tensor
        self.prior: Tensor
        self.register_buffer("positive_weight", weight)
        self.register_buffer("prior", torch.stack(odds))

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean loss of logits `[batch, diseases]`."""
        return F.binary_cross_entropy_with_logits(
            logits + self.prior[batch.sources], batch.labels, pos_weight=self.positive_weight
        )

    def of_pairs(self, logits: Tensor, pairs: Tensor, batch: Batch) -> Tensor:
        """The loss of single diseases, not averaged, each weighed as `forward` weighs a positive.

        Args:
            logits: `[pairs]`.
            pairs: long `[pairs, 2]`: radiograph of the batch, disease.
            batch: for its labels and sources.
        """
        rows, diseases = pairs.T
        return self.positive_weight[diseases] * F.binary_cross_entropy_with_logits(
            logits + self.prior[batch.sources[rows], diseases],
            batch.labels[rows, diseases],
            reduction="none",
        )
