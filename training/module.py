"""The Lightning module: what a step is, what is measured, how the weights move."""

import math

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torchmetrics.classification import MultilabelAUROC

from localization import DISEASES
from training.augmentation import augment, enlarge
from training.dataset import Batch
from training.loss import ClassBalancedLoss
from training.network import LocalizationNetwork
from training.recipe import Recipe


class LocalizationModule(LightningModule):
    """Trains a `LocalizationNetwork` on image labels.

    Args:
        recipe: see `training.recipe.Recipe`; kept in the checkpoint.
        labels: float `[images, 14]` of the training part, for the loss.
        sources: long `[images]`.
    """

    def __init__(self, recipe: Recipe, labels: Tensor, sources: Tensor) -> None:
        super().__init__()
        self.save_hyperparameters({"recipe": recipe.model_dump()})
        self.recipe = recipe
        self.network = LocalizationNetwork(recipe.network)
        self.loss = ClassBalancedLoss(labels, sources)
        self.area = MultilabelAUROC(len(DISEASES), average="macro", thresholds=None)

    @property
    def input_side(self) -> int:
        """Side of the network's input in the present epoch."""
        sides = self.recipe.input_sides
        return sides[min(self.current_epoch, len(sides) - 1)]

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move a batch."""
        return Batch(
            batch.radiographs.to(device, non_blocking=True),
            batch.labels.to(device, non_blocking=True),
            batch.sources.to(device, non_blocking=True),
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one varied batch, whole or in quarters."""
        images = augment(batch.radiographs, self.recipe.augmentation, self.input_side)
        tiled = torch.rand(()).item() < self.recipe.tiles
        logits, _ = self.network.forward_tiled(images) if tiled else self.network(images)
        loss = self.loss(logits, batch.labels, batch.sources)
        name = "loss/tiled" if tiled else "loss/whole"
        self.log(name, loss, prog_bar=True, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and area under the ROC curve of the unvaried batch."""
        logits, _ = self.network(enlarge(batch.radiographs, self.recipe.input_sides[-1]))
        loss = self.loss(logits, batch.labels, batch.sources)
        self.log("validation/loss", loss, sync_dist=True, batch_size=len(logits))
        self.area.update(logits, batch.labels.long())

    def on_validation_epoch_end(self) -> None:
        """Report the mean AUC; a disease without a positive is not in the mean."""
        self.log("validation/auc", self.area.compute(), prog_bar=True, sync_dist=True)
        self.area.reset()

    def configure_optimizers(self) -> dict[str, object]:
        """AdamW, a rate for the backbone and one for the rest, warm-up and cosine."""
        backbone = [p for p in self.network.backbone.parameters() if p.requires_grad]
        rest = [*self.network.aggregation.parameters(), *self.network.head.parameters()]
        optimizer = torch.optim.AdamW(
            [
                {"params": backbone, "lr": self.recipe.backbone_learning_rate},
                {"params": rest, "lr": self.recipe.learning_rate},
            ],
            weight_decay=self.recipe.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _rate(self, step: int) -> float:
        steps = int(self.trainer.estimated_stepping_batches)
        warmup = max(1, round(self.recipe.warmup * steps))
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
