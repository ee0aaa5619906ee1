"""The Lightning module: what a step is, what is measured, how the weights move."""

import math
from collections.abc import Sequence

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from training.areas import mean_area
from training.augmentation import augment, enlarge
from training.dataset import Batch
from training.loss import ClassBalancedLoss
from training.mining import Step, conceal, draw_foils, mine_pairs
from training.network import LocalizationNetwork
from training.preservation import KnowledgePreservation, Responses
from training.prior import move_masks, prior_loss
from training.recipe import Recipe


class LocalizationModule(LightningModule):
    """Trains a `LocalizationNetwork` on image labels.

    Args:
        recipe: see `training.recipe.Recipe`; kept in the checkpoint.
        labels: float `[images, 14]` of the training part, for the loss.
        sources: long `[images]`.
        start: weights to begin with, in place of the recipe's pretrained ones; what they do not
            hold, the spatial context, begins as the identity.
        companions: see `training.preservation.KnowledgePreservation`.
    """

    def __init__(
        self,
        recipe: Recipe,
        labels: Tensor,
        sources: Tensor,
        start: LocalizationNetwork | None = None,
        companions: Sequence[LocalizationNetwork] = (),
    ) -> None:
        super().__init__()
        self.save_hyperparameters({"recipe": recipe.model_dump()})
        self.recipe = recipe
        self.network = LocalizationNetwork(recipe.network)
        if start is not None:
            _take_weights(self.network, start)
        self.loss = ClassBalancedLoss(labels, sources)
        self.preservation = (
            KnowledgePreservation(self.network, recipe.preservation, companions)
            if recipe.preservation is not None
            else None
        )
        self._scored: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def input_side(self) -> int:
        """Side of the network's input in the present epoch."""
        sides = self.recipe.input_sides
        return sides[min(self.current_epoch, len(sides) - 1)]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Each step draws its variations by its own number, so a resumed run repeats an unbroken
        one."""
        process = self.recipe.seed * 2**10 + self.global_rank
        torch.manual_seed(process * 2**32 + self.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one varied batch, whole or in quarters."""
        images, motion = augment(batch.radiographs, self.recipe.augmentation, self.input_side)
        tiled = self._draws_tiles()
        see = self.network.features_of_quarters if tiled else self.network.features
        features = see(images)
        maps = self.network.evidence(features)
        logits = self.network.pool(maps)
        loss = self._log("tiled" if tiled else "whole", self.loss(logits, batch), images)
        loss = self.recipe.classification * loss
        pairs = batch.labels.nonzero()
        steps: list[Step] = []
        if self.recipe.mining is not None:
            recipe = self.recipe.mining
            if recipe.foils:
                pairs = torch.cat([pairs, draw_foils(batch.labels, pairs)])
            steps = mine_pairs(self.network, see, images, features, maps, pairs, recipe)
            loss = loss + self._log("mining", self._mining_loss(steps, pairs, batch), images)
        if self.recipe.harvest is not None:
            loss = loss + self._log("prior", self._prior_loss(maps, motion, batch), images)
        if self.preservation is not None:
            known = self.preservation.respond(images, quarters=tiled)
            loss = loss + self._log("preservation", self.preservation(logits, maps, known), images)
            loss = loss + self._preservation_of_others(steps, pairs, images, known, tiled)
        return loss

    def _draws_tiles(self) -> bool:
        """The same in all processes, so that all are equally fast and log the same."""
        step = torch.Generator().manual_seed(self.recipe.seed * 2**32 + self.global_step)
        return torch.rand((), generator=step).item() < self.recipe.tiles

    def _mining_loss(self, steps: list[Step], pairs: Tensor, batch: Batch) -> Tensor:
        """Each disease is asked for again at every step at which it was still there."""
        assert self.recipe.mining is not None
        losses = [
            (self.loss.of_pairs(step.logits, pairs, batch) * step.active).sum()
            for step in steps[1:]
        ]
        total = torch.stack(losses).mean() if losses else batch.labels.new_zeros(())
        return self.recipe.mining.weight * total / batch.labels.numel()

    def _prior_loss(self, maps: Tensor, motion: Tensor, batch: Batch) -> Tensor:
        """How much of each disease's evidence lies outside of where it was mined."""
        assert self.recipe.harvest is not None
        assert batch.mined is not None
        pairs, masks = batch.mined
        moved = move_masks(masks, motion[pairs[:, 0]], self.input_side)
        loss = prior_loss(maps, pairs, moved, self.recipe.network.sharpness)
        return self.recipe.harvest.weight * loss

    def _preservation_of_others(
        self, steps: list[Step], pairs: Tensor, images: Tensor, known: Responses, tiled: bool
    ) -> Tensor:
        """What the hidden passes are to say of the diseases that were not hidden."""
        preservation, mining = self.preservation, self.recipe.mining
        nothing = known.logits.new_zeros(())
        if preservation is None or mining is None or preservation.recipe.hidden == 0:
            return nothing
        if not steps:
            return self._log("preservation of others", nothing, images)
        rows, diseases = pairs.T
        see = preservation.see(quarters=tiled)
        hide = conceal(see, images[rows], known.features[rows], mining)
        kept = preservation.of_hidden(self.network, steps, diseases, hide)
        return self._log("preservation of others", kept, images)

    def _log(self, name: str, loss: Tensor, radiographs: Tensor) -> Tensor:
        self.log(
            f"loss/{name}",
            loss,
            prog_bar=True,
            on_step=True,
            on_epoch=True,
            sync_dist=True,
            batch_size=len(radiographs),
        )
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss of the unvaried batch; its logits are kept for the end of the epoch."""
        logits, _ = self.network(enlarge(batch.radiographs, self.recipe.input_sides[-1]))
        loss = self.loss(logits, batch)
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
        ours = (self.network.aggregation, self.network.context, self.network.head)
        rest = [parameter for part in ours for parameter in part.parameters()]
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


def _take_weights(network: LocalizationNetwork, start: LocalizationNetwork) -> None:
    left = network.load_state_dict(start.state_dict(), strict=False)
    unexpected = [k for k in left.missing_keys if not k.startswith("context.")]
    if unexpected or left.unexpected_keys:
        raise ValueError("The weights to start from are of another network than the recipe's.")
