"""A data set in ChestX-ray14's official layout, made of noise with bright squares."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from localization import DISEASES, ModelBundle
from training.dataset import ChestXray14
from training.export import export
from training.recipe import Recipe
from training.train import train

PATIENTS = 40
TEST_PATIENTS = range(30, 40)


@pytest.fixture(scope="session")
def official_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two image folders, both extensions, one listed image missing."""
    folder = tmp_path_factory.mktemp("chestxray14")
    random = np.random.default_rng(0)
    rows, names = [], []
    for patient in range(PATIENTS):
        disease = DISEASES[patient % len(DISEASES)]
        name = f"{patient:08d}_000"
        names.append(name)
        rows.append(f"{name}.png,{disease},0,{patient},60,F,PA,2500,2048,0.168,0.168")
        pixels = random.integers(0, 120, (128, 128), np.uint8)
        pixels[32:64, 64:96] = 255
        directory = folder / ("images_001" if patient % 2 else "images_002/images")
        directory.mkdir(parents=True, exist_ok=True)
        suffix = ".png" if patient % 2 else ".jpg"
        cv2.imwrite(str(directory / f"{name}{suffix}"), pixels)
    (folder / "images_001" / "00000001_000.png").unlink()
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    )
    (folder / "Data_Entry_2017_v2020.csv").write_text("\n".join([header, *rows]) + "\n")
    lines = [f"{name}.png" for name in names]
    first_test = TEST_PATIENTS.start
    (folder / "train_val_list.txt").write_text("\n".join(lines[:first_test]) + "\n")
    (folder / "test_list.txt").write_text("\n".join(lines[first_test:]) + "\n")
    (folder / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        "00000030_000.png,Effusion,512.0,256.0,256.0,256.0\n"
        "00000031_000.png,Infiltrate,512.0,256.0,256.0,256.0\n"
        "00000099_000.png,Mass,1.0,1.0,5.0,5.0\n"
    )
    return folder


@pytest.fixture(scope="session")
def data(official_files: Path) -> ChestXray14:
    return ChestXray14.read(official_files)


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    return Recipe.load(str(Path(__file__).parent.parent / "data" / "tiny.yaml"))


@pytest.fixture(scope="session")
def checkpoint(
    data: ChestXray14, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Of one epoch of the tiny recipe."""
    output = tmp_path_factory.mktemp("run")
    return train(
        tiny_recipe.model_copy(update={"epochs": 1}), data, output, output / "cache", progress=False
    )


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, data: ChestXray14) -> ModelBundle:
    """Of that checkpoint; its folder's parent holds the cache. Not to be changed."""
    folder = checkpoint.parent / "tiny-net"
    return export(checkpoint, data, checkpoint.parent / "cache", folder, "0.0.1")
