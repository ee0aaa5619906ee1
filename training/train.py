"""One training run, from files to checkpoints."""

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer, seed_everything
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, DistributedSampler

from harvesting.dataset import Dataset
from training.dataset import (
    Batch,
    ChestXray14,
    Part,
    RadiographDataset,
    cached_pixels,
)
from training.harvest import read_masks
from training.module import LocalizationModule
from training.network import LocalizationNetwork
from training.prior import MinedMasks
from training.recipe import Recipe

BEST = "best.ckpt"
LAST = "last.ckpt"


def open_part(
    data: ChestXray14, part: Part, side: int, cache: Path, mined: MinedMasks | None = None
) -> RadiographDataset:
    """One part of the data set at a side, from the cache (made on first use)."""
    table = data.part(part)
    sides = sorted(data.table["native_side"].unique())
    return RadiographDataset(table, cached_pixels(table, side, cache), sides, mined)


def batches(dataset: RadiographDataset, size: int) -> DataLoader[Batch]:
    """A part in its order; reading is a copy from mapped memory, so no worker processes."""
    return DataLoader(dataset, size, collate_fn=lambda batch: batch)


class ShuffledParts(LightningDataModule):
    """Training part, shuffled anew by each epoch's number alone, and validation part.

    A resumed run so meets the radiographs in the order in which it would have met them.
    """

    def __init__(
        self, training: RadiographDataset, validation: RadiographDataset, recipe: Recipe
    ) -> None:
        super().__init__()
        self.training, self.validation, self.recipe = training, validation, recipe

    def train_dataloader(self) -> DataLoader[Batch]:
        """This process's share of the training part."""
        assert self.trainer is not None
        world, rank = self.trainer.world_size, self.trainer.global_rank
        sampler = DistributedSampler(
            self.training, world, rank, seed=self.recipe.seed, drop_last=world > 1
        )
        return DataLoader(
            self.training,
            self.recipe.batch,
            sampler=sampler,
            drop_last=True,
            collate_fn=lambda batch: batch,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation part; Lightning divides it between processes."""
        return batches(self.validation, self.recipe.batch)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move a batch."""
        return batch.to(device)


def train(
    recipe: Recipe,
    data: ChestXray14,
    output: Path,
    cache: Path,
    *,
    resume: bool = False,
    devices: int | str = "auto",
    nodes: int = 1,
    progress: bool = True,
) -> Path:
    """Train by a recipe; returns the checkpoint with the best validation AUC.

    Args:
        recipe: what to train.
        data: the official files; only its training and validation parts are read.
        output: folder of checkpoints, logs and the names of missing images.
        cache: folder of decoded radiographs, shared between runs.
        resume: go on from the last finished epoch of `output`.
        devices: GPUs (or processes) per node, as Lightning counts them.
        nodes: machines; more than one process trains by DDP.
        progress: show a bar.

    Raises:
        FileNotFoundError: there is nothing to resume, or no checkpoint to start from.
        FileExistsError: the folder holds another run.
        ValueError: the recipe's harvest is none that may be trained on; see
            `training.harvest.read_masks`.
    """
    last = output / LAST
    if resume and not last.is_file():
        raise FileNotFoundError(f"{last} is not there: nothing to resume.")
    if last.exists() and not resume:
        raise FileExistsError(f"{last} is there: resume that run, or choose another folder.")
    seed_everything(recipe.seed, workers=True, verbose=False)
    data = data.with_training_share(recipe.patients)
    mined = None
    if recipe.harvest is not None:
        harvested = Dataset.open(recipe.harvest.dataset)
        mined = read_masks(harvested, data, data.part("training"))
    training = open_part(data, "training", recipe.side, cache, mined)
    validation = open_part(data, "validation", recipe.side, cache)
    output.mkdir(parents=True, exist_ok=True)
    (output / "missing.txt").write_text("".join(f"{stem}\n" for stem in data.missing))
    start = load_network(Path(recipe.start))[1] if recipe.start is not None else None
    known = recipe.preservation.companions if recipe.preservation is not None else ()
    companions = [load_network(Path(file))[1] for file in known]
    module = LocalizationModule(recipe, training.labels, training.sources, start, companions)
    trainer = Trainer(
        max_epochs=recipe.epochs,
        precision=recipe.precision,
        devices=devices,
        num_nodes=nodes,
        # A version each start, so that what is resumed keeps the log of its first epochs.
        logger=[CSVLogger(output, "csv"), TensorBoardLogger(output, "tensorboard")],
        callbacks=_callbacks(recipe, output, progress=progress),
        enable_progress_bar=progress,
        enable_model_summary=progress,
        log_every_n_steps=max(1, min(20, len(training) // recipe.batch)),
        num_sanity_val_steps=0,
    )
    trainer.fit(
        module,
        datamodule=ShuffledParts(training, validation, recipe),
        ckpt_path=last if resume else None,
        weights_only=False if resume else None,
    )
    return output / BEST


def _callbacks(recipe: Recipe, output: Path, *, progress: bool) -> list[Callback]:
    best = {"monitor": "validation/auc", "mode": "max"}
    callbacks = [
        EMAWeightAveraging(decay=recipe.averaging, use_buffers=True),
        ModelCheckpoint(output, "best", enable_version_counter=False, **best),
        # On its own: `save_last` beside a monitor leaves out the epochs that are not better.
        ModelCheckpoint(output, "last", enable_version_counter=False),
    ]
    if recipe.patience is not None:
        callbacks.append(EarlyStopping(patience=recipe.patience, **best))
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=20))
    return callbacks


def save_network(recipe: Recipe, network: LocalizationNetwork, file: Path) -> None:
    """Write what `load_network` reads and no more: a quarter of a training checkpoint."""
    weights = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"hyper_parameters": {"recipe": recipe.model_dump()}, "state_dict": weights}, file)


def load_network(checkpoint: Path) -> tuple[Recipe, LocalizationNetwork]:
    """The recipe of a checkpoint and its network with the averaged weights, ready to score."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    recipe = Recipe.model_validate(saved["hyper_parameters"]["recipe"])
    network = LocalizationNetwork(recipe.network.model_copy(update={"weights": None}))
    prefix = "network."
    network.load_state_dict(
        {
            name.removeprefix(prefix): tensor
            for name, tensor in saved["state_dict"].items()
            if name.startswith(prefix)
        }
    )
    return recipe, network.eval()
