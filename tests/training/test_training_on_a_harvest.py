"""A harvested data set in training: what of it is used, what is refused, and that it is learned."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from harvesting.dataset import Dataset
from harvesting.rows import FindingRow, RadiographRow, Rows
from localization import DISEASES, Box, Field
from training.dataset import Batch, ChestXray14
from training.harvest import MASK_SIDE, draw_mask, read_masks
from training.module import LocalizationModule
from training.prior import Mined
from training.recipe import Recipe
from training.train import LAST, train

WHOLE = Field(0, 0, 128, 128)
SQUARE = Box(64, 32, 32, 32, 0.5)
"""Where the made radiographs are bright."""
Write = Callable[[Sequence[Rows]], Path]


def mined(path: str, disease: str, *boxes: Box, field: Field = WHOLE) -> Rows:
    radiograph = RadiographRow(path, "localized", width=128, height=128, field=field)
    return Rows((radiograph,), (FindingRow(path, disease, 0.5, 0.2, True, boxes, b""),), ())


def of_training(table: pd.DataFrame, disease: str) -> list[str]:
    return [str(stem) for stem in table.index[table[disease]]]


@pytest.fixture
def table(data: ChestXray14) -> pd.DataFrame:
    return data.part("training")


@pytest.fixture
def harvest(write_dataset: Write, table: pd.DataFrame) -> Path:
    """Of two diseases of the training part, the bright square."""
    return write_dataset(
        [
            mined(f"images/{stem}.jpg", disease, SQUARE)
            for disease in ("Mass", "Effusion")
            for stem in of_training(table, disease)
        ]
    )


def with_harvest(recipe: Recipe, folder: Path, weight: float) -> Recipe:
    values = recipe.model_dump() | {
        "epochs": 1,
        "harvest": {"dataset": str(folder), "weight": weight},
    }
    return Recipe.model_validate(values)


def test_a_mask_covers_the_box_within_the_field() -> None:
    mask = draw_mask([Box(74, 52, 32, 32, 0.9)], Field(10, 20, 128, 128))
    drawn = np.argwhere(mask == 255)
    cell = 128 / MASK_SIDE
    assert (drawn.min(axis=0) * cell).tolist() == [32, 64]
    assert ((drawn.max(axis=0) + 1) * cell).tolist() == [64, 96]
    assert mask.sum() == 255 * len(drawn)


def test_a_box_counts_by_its_score_beside_the_best_ones() -> None:
    mask = draw_mask([Box(0, 0, 64, 64, 0.8), Box(64, 64, 64, 64, 0.2, 1)], WHOLE)
    assert mask[0, 0] == 255
    assert mask[-1, -1] == 64
    assert mask[0, -1] == 0


def test_masks_are_of_the_labelled_diseases_of_the_training_part(
    write_dataset: Write, data: ChestXray14, table: pd.DataFrame
) -> None:
    first, second, *_ = of_training(table, "Atelectasis")
    validation = str(data.part("validation").index[0])
    dataset = write_dataset(
        [
            mined(f"{second}.png", "Atelectasis", SQUARE),
            mined(f"archive.tar/{first}.png", "Atelectasis", SQUARE),
            mined(f"{of_training(table, 'Effusion')[0]}.png", "Atelectasis", SQUARE),
            mined(f"{of_training(table, 'Effusion')[1]}.png", "Effusion"),
            mined(f"{validation}.png", "Atelectasis", SQUARE),
            mined("elsewhere.png", "Atelectasis", SQUARE),
        ]
    )
    masks = read_masks(Dataset.open(str(dataset)), data, table)
    rows = sorted([table.index.get_loc(first), table.index.get_loc(second)])
    assert masks.pairs.tolist() == [[row, 0] for row in rows]
    assert torch.equal(masks.masks[0], torch.from_numpy(draw_mask([SQUARE], WHOLE)))


@pytest.mark.parametrize("name", ["00000035_000", "00000099_000"], ids=["here", "missing here"])
def test_a_radiograph_of_the_test_list_is_refused_by_name(
    name: str, write_dataset: Write, official_files: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for file in official_files.iterdir():
        (files / file.name).symlink_to(file)
    (files / "test_list.txt").unlink()
    official = (official_files / "test_list.txt").read_text()
    (files / "test_list.txt").write_text(f"{official}00000099_000.png\n")
    [good, *_] = of_training(table, "Mass")
    rows = [mined(f"{good}.png", "Mass", SQUARE), mined(f"a/{name}.png", "Mass", SQUARE)]
    dataset = Dataset.open(str(write_dataset(rows)))
    with pytest.raises(ValueError, match=f"official test list.*a/{name}.png"):
        read_masks(dataset, ChestXray14.read(files), table)


def test_training_refuses_it_before_anything_is_written(
    write_dataset: Write, data: ChestXray14, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    folder = write_dataset([mined("00000035_000.png", "Mass", SQUARE)])
    output = tmp_path / "run"
    with pytest.raises(ValueError, match="00000035_000"):
        train(with_harvest(tiny_recipe, folder, 0.3), data, output, tmp_path / "cache")
    assert not output.exists()


def test_a_harvest_of_other_radiographs_is_refused(
    write_dataset: Write, data: ChestXray14, table: pd.DataFrame
) -> None:
    dataset = Dataset.open(str(write_dataset([mined("elsewhere.png", "Mass", SQUARE)])))
    with pytest.raises(ValueError, match="no mined box of a radiograph of the training part"):
        read_masks(dataset, data, table)


def test_the_shipped_recipe_has_a_prior() -> None:
    recipe = Recipe.load("second-round")
    assert recipe.harvest is not None
    assert recipe.harvest.weight > 0
    assert recipe.start == "models/stages/msa-am-kp.pth"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"harvest": {"dataset": "d", "weight": -1}}, "greater than or equal to 0"),
        ({"harvest": {"weight": 1}}, "dataset"),
        ({"harvest": {"dataset": "d", "boxes": 3}}, "boxes"),
        ({"harvest": {"dataset": "d"}, "pooling": "average"}, "log-sum-exp"),
    ],
)
def test_a_recipe_whose_harvest_makes_no_sense_is_refused(
    changed: dict[str, object], reason: str, tiny_recipe: Recipe
) -> None:
    values = tiny_recipe.model_dump()
    if "pooling" in changed:
        values["network"]["pooling"] = changed.pop("pooling")
    with pytest.raises(ValidationError, match=reason):
        Recipe.model_validate(values | changed)


def test_an_epoch_with_a_harvest_learns_from_it(
    harvest: Path, data: ChestXray14, tiny_recipe: Recipe, checkpoint: Path, tmp_path: Path
) -> None:
    recipe = with_harvest(tiny_recipe, harvest, 0.5)
    train(recipe, data, tmp_path, checkpoint.parent / "cache", progress=False)
    [log] = tmp_path.glob("csv/*/metrics.csv")
    assert "loss/prior" in log.read_text().splitlines()[0]
    head = "network.head.weight"
    learned, without = (
        torch.load(folder / LAST, weights_only=True)["state_dict"][head]
        for folder in (tmp_path, checkpoint.parent)
    )
    assert not torch.equal(learned, without)


def test_a_prior_without_weight_changes_nothing(
    tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step's gradients, to the bit."""
    labels = torch.eye(len(DISEASES))[:4]
    masks = torch.from_numpy(draw_mask([SQUARE], WHOLE)).expand(4, -1, -1)
    images = torch.randint(0, 256, (4, 1, 64, 64), dtype=torch.uint8)
    batch = Batch(images, labels, torch.zeros(4).long(), Mined(labels.nonzero(), masks))

    def gradient(recipe: Recipe) -> torch.Tensor:
        torch.manual_seed(0)
        module = LocalizationModule(recipe, labels, batch.sources)
        monkeypatch.setattr(module, "log", lambda *_, **__: None)  # There is no trainer.
        module.training_step(batch, 0).backward()
        gradients = [p.grad for p in module.network.parameters() if p.grad is not None]
        return torch.cat([each.flatten() for each in gradients])

    still = tiny_recipe.model_copy(update={"tiles": 0.0})
    without, weightless, weighty = (
        gradient(recipe)
        for recipe in (still, *(with_harvest(still, Path("any"), weight) for weight in (0, 1)))
    )
    assert torch.equal(without, weightless)
    assert not torch.equal(without, weighty)
