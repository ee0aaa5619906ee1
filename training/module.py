"""The Lightning module: what a step is, what is measured, how the weights move."""

import math

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from training.areas import mean_area
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
        self._scored: list[tuple[Tensor, Tensor, Tensor]] = []

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
        """Loss of the unvaried batch; its logits are kept for the end of the epoch."""
        logits, _ = self.network(enlarge(batch.radiographs, self.recipe.input_sides[-1]))
        loss = self.loss(logits, batch.labels, batch.sources)
        self.log("validation/loss", loss, sync_dist=True, batch_size=len(logits))
        self._scored.append((logits, batch.labels, batch.sources))

    def on_validation_epoch_end(self) -> None:
        """Report the AUC within each source, and their mean, by which the best epoch is chosen.

        Over all sources at once, a network that tells the sources apart would look better.
        """
        parts = [torch.cat(part) for part in zip(*self._scored, strict=True)]
        logits, labels, sources = (self.all_gather(part).flatten(0, -part.dim()) for part in parts)
        self._scored.clear()
        areas = [
            mean_area(logits[sources == source], labels[sources == source])
            for source in sources.unique()
        ]
        for source, area in zip(sources.unique().tolist(), areas, strict=True):
            self.log(f"validation/auc/source{source}", area)
        self.log("validation/auc", float(torch.tensor(areas).mean()), prog_bar=True)

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
