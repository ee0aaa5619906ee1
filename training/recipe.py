"""A recipe: the plain values that one training run is made of, read from a short YAML file."""

from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

RECIPES = files("training") / "recipes"


class Values(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkRecipe(Values):
    """What the network is made of; see `training.network.LocalizationNetwork`."""

    backbone: str
    weights: str | None = None
    """A state-dict file, the name of an installed package that holds one, or nothing."""
    frozen: tuple[str, ...] = ()
    """Submodules of the backbone that keep their weights and batch statistics."""
    fixed_statistics: bool = False
    """Whether all batch normalisation keeps the statistics that it began with."""
    stages: tuple[int, ...]
    """Which stages of the backbone are aggregated, counted as timm's `out_indices`."""
    stride: int
    """Input pixels from one heat-map cell to the next."""
    width: int = 128
    """Channels of the aggregated feature map."""
    context: int = 0
    """Side of the neighbourhood, in cells, that a heat-map cell sees of the aggregated map; 0: its
    own cell alone."""
    dropout: float = 0.0
    pooling: Literal["log-sum-exp", "average"] = "log-sum-exp"
    sharpness: float = Field(default=5.0, gt=0)
    """`r` of log-sum-exp pooling: towards 0 the mean of the map, large its maximum."""


class AugmentationRecipe(Values):
    """How far a training radiograph is varied; see `training.augmentation.augment`."""

    flip: float = 0.5
    rotation: float = 10.0
    scale: float = 0.15
    translation: float = 0.08
    contrast: float = 0.25
    brightness: float = 0.1
    blur: float = 0.5


class MiningRecipe(Values):
    """Attention mining; see `training.mining`."""

    where: Literal["features", "image"] = "features"
    """What is hidden: cells of the aggregated map, or pixels of the radiograph."""
    mask: Literal["hard", "soft"] = "hard"
    threshold: float = Field(default=0.6, gt=0, lt=1)
    """A cell above this share of the range of its disease's map is hidden."""
    slope: float = 20.0
    """Of a soft mask's sigmoid, over the map's range."""
    steps: int = Field(default=2, ge=1)
    stop: float = 0.0
    """Mining of a disease ends where its logit is less: what is left does not speak for it. The
    loss knows each disease's rate, so 0 is evidence neither for nor against."""
    weight: float = 0.3
    """Of the mining loss beside the classification loss."""
    foils: bool = False
    """Whether as many radiographs without the disease are asked again, too, after hiding where they
    look most like it: were only ill ones ever hidden, a hidden region would come to mean yes."""


class PreservationRecipe(Values):
    """Knowledge preservation; see `training.preservation`."""

    logits: float = 1.0
    """Weight of the squared difference of the logits to those of the original network."""
    maps: float = 0.1
    """Weight of the squared difference of the heat maps."""
    hidden: float = 0.0
    """Weight of the squared difference of the logits of the diseases that were not hidden, where
    another one was."""
    companions: tuple[str, ...] = ()
    """Checkpoints of further networks: the logits to keep are the mean of theirs and the
    original's."""


class HarvestRecipe(Values):
    """A harvested data set as a localization prior; see `training.prior`."""

    dataset: str
    """Its folder or URL; of radiographs of the official training list alone."""
    weight: float = Field(default=0.3, ge=0)
    """Of the evidence that lies outside of the mined boxes, beside the classification loss."""


class Recipe(Values):
    name: str
    side: int
    """Side of the cached radiographs in pixels: the sharpness that the network sees."""
    patients: float = Field(default=1.0, gt=0, le=1)
    """Share of the training patients that are learned from."""
    input_sides: tuple[int, ...]
    """Side of the network's input per epoch; the last one is used ever after, and served."""
    epochs: int
    patience: int | None = Field(default=None, ge=1)
    """Training ends early after this many epochs without a better validation AUC."""
    batch: int
    """Radiographs per optimiser step of one process."""
    learning_rate: float
    backbone_learning_rate: float
    weight_decay: float = 0.05
    warmup: float = 0.05
    """Share of all steps over which the learning rates rise; then they fall along a cosine."""
    averaging: float = 0.998
    """Decay of the exponential moving average of the weights, per step."""
    tiles: float = 0.0
    """Share of the steps that show the network four quarters in place of one radiograph."""
    classification: float = Field(default=1.0, ge=0)
    """Weight of the labels' loss on the unhidden radiographs; with 0, what is preserved stands in
    for them, and labels supervise the hidden passes alone."""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    seed: int = 0
    start: str | None = None
    """A checkpoint, or a bundle's trained network, whose weights the run begins with."""
    mining: MiningRecipe | None = None
    preservation: PreservationRecipe | None = None
    """Needs `start`: the original network."""
    harvest: HarvestRecipe | None = None
    """Needs log-sum-exp pooling, whose shares of a logit the prior weighs."""
    network: NetworkRecipe
    augmentation: AugmentationRecipe = AugmentationRecipe()

    @model_validator(mode="after")
    def _preserves_something(self) -> "Recipe":
        if self.preservation is not None and self.start is None:
            raise ValueError("preservation needs `start`, the network that is to be preserved")
        return self

    @model_validator(mode="after")
    def _pools_what_the_prior_weighs(self) -> "Recipe":
        if self.harvest is not None and self.network.pooling != "log-sum-exp":
            raise ValueError("harvest needs the network's `pooling` to be log-sum-exp")
        return self

    @classmethod
    def load(cls, name: str) -> "Recipe":
        """Read a shipped recipe by its name, or a file by its path.

        Raises:
            FileNotFoundError: neither exists; the message lists the shipped ones.
            pydantic.ValidationError: a value is missing, unknown or out of its range.
        """
        if name.endswith((".yaml", ".yml")):
            text = Path(name).read_text()
        else:
            shipped = sorted(f.name.removesuffix(".yaml") for f in RECIPES.iterdir())
            if name not in shipped:
                raise FileNotFoundError(f"No recipe {name!r}; there are: {', '.join(shipped)}.")
            text = (RECIPES / f"{name}.yaml").read_text()
        return cls.model_validate(yaml.safe_load(text))
