"""ChestX-ray14 from its official files, decoded once into a memory-mapped cache."""

import hashlib
import json
import logging
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from localization import DISEASES, Radiograph, RadiographRefused
from training.prior import Mined, MinedMasks

logger = logging.getLogger(__name__)

Part = Literal["training", "validation", "test"]
VALIDATION_SHARE = 0.1


def is_validation_patient(patient: int) -> bool:
    """Whether a patient of `train_val_list` belongs to the validation part.

    Decided by a hash of the patient id alone, so that it never depends on what else is there.
    """
    return zlib.crc32(str(patient).encode()) % 1000 < VALIDATION_SHARE * 1000


@dataclass(frozen=True)
class ChestXray14:
    """The images that are here, with their official labels and split."""

    table: pd.DataFrame
    """Indexed by stem: `file` (path), `patient` (int), `part`, `native_side` (pixels; 1024 where
    no `index.csv` says otherwise) and one bool column per disease."""
    missing: tuple[str, ...]
    """Names in the official split of which no image file was found."""
    boxes: pd.DataFrame
    """Official boxes: `stem`, `patient`, `disease`, `x`, `y`, `width`, `height`, in pixels of the
    1024 x 1024 original."""
    test_list: frozenset[str]
    """All stems of the official test list, whether their images are here or not."""

    @classmethod
    def read(cls, folder: Path) -> "ChestXray14":
        """Read the official files of a folder.

        Needs `Data_Entry_2017*.csv`, `train_val_list.txt`, `test_list.txt` and one or more
        `images*` folders; `BBox_List_2017.csv` gives the boxes, `index.csv` the native sides.
        Images are found by their stem, so `.jpg` serves where the lists say `.png`.

        Raises:
            FileNotFoundError: an official file is not there, or no image at all.
        """
        split = _official_split(folder)
        files = _image_files(folder)
        labels = _labels(folder)
        present = [stem for stem in split.index if stem in files]
        if not present:
            raise FileNotFoundError(f"No image of the official split under {folder}/images*.")
        missing = tuple(stem for stem in split.index if stem not in files)
        if missing:
            logger.warning(
                "%d of %d images are missing, the first: %s",
                len(missing),
                len(split),
                ", ".join(missing[:5]),
            )
        unlabelled = [stem for stem in present if stem not in labels.index]
        if unlabelled:
            raise ValueError(f"Data_Entry_2017 has no labels of {', '.join(unlabelled[:5])}.")
        table = labels.loc[present]
        table = table.assign(file=[files[s] for s in present])
        table["part"] = [
            _part(official, patient)
            for official, patient in zip(split.loc[present], table["patient"], strict=True)
        ]
        table["native_side"] = _native_sides(folder, present)
        return cls(table, missing, _boxes(folder), frozenset(split.index[split == "test"]))

    def part(self, part: Part) -> pd.DataFrame:
        """The rows of one part, in the order of the official list."""
        return self.table[self.table["part"] == part]

    def with_training_share(self, share: float) -> "ChestXray14":
        """The data set with that share, in (0, 1], of its training patients, and all others.

        Decided by a hash of the patient id, so that a smaller share is a part of a larger one.
        """
        left_out = (self.table["part"] == "training") & (_places(self.table["patient"]) >= share)
        return replace(self, table=self.table[~left_out])


def _places(patients: pd.Series) -> pd.Series:
    """Where each patient stands in [0, 1), by a hash that knows nothing of the one of
    `is_validation_patient`."""
    digests = (hashlib.sha256(str(patient).encode()).digest() for patient in patients)
    places = [int.from_bytes(digest[:4]) / 2**32 for digest in digests]
    return pd.Series(places, patients.index)


def _part(official: str, patient: int) -> Part:
    if official == "test":
        return "test"
    return "validation" if is_validation_patient(patient) else "training"


def _official_file(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"{folder} holds no {pattern}: is it the ChestX-ray14 folder?")
    return found[-1]


def _official_split(folder: Path) -> pd.Series:
    lists = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
    parts = {}
    for part, name in lists.items():
        for line in _official_file(folder, name).read_text().split():
            parts[Path(line).stem] = part
    return pd.Series(parts)


def _image_files(folder: Path) -> dict[str, str]:
    files = {}
    for directory in sorted(folder.glob("images*")):
        for root, _, names in os.walk(directory):
            for name in names:
                if name.lower().endswith((".png", ".jpg", ".jpeg")):
                    files[Path(name).stem] = str(Path(root) / name)
    return files


def _labels(folder: Path) -> pd.DataFrame:
    entries = pd.read_csv(_official_file(folder, "Data_Entry_2017*.csv"))
    found = entries["Finding Labels"].str.split("|")
    table = pd.DataFrame(
        {disease: [disease in labels for labels in found] for disease in DISEASES},
        index=[Path(name).stem for name in entries["Image Index"]],
    )
    table["patient"] = entries["Patient ID"].to_numpy()
    return table


def _native_sides(folder: Path, stems: list[str]) -> NDArray[np.int64]:
    index = folder / "index.csv"
    if not index.is_file():
        return np.full(len(stems), 1024)
    table = pd.read_csv(index)
    sides = pd.Series(table["native_px"].to_numpy(), [Path(name).stem for name in table["image"]])
    return sides.reindex(stems, fill_value=1024).to_numpy()


def _boxes(folder: Path) -> pd.DataFrame:
    """The official boxes; their `Infiltrate` is `Infiltration` everywhere else."""
    columns = ["image", "disease", "x", "y", "width", "height"]
    file = folder / "BBox_List_2017.csv"
    if not file.is_file():
        return pd.DataFrame(columns=["stem", "patient", *columns[1:]])
    boxes = pd.read_csv(file, usecols=range(6))
    boxes.columns = pd.Index(columns)
    boxes["disease"] = boxes["disease"].replace("Infiltrate", "Infiltration")
    boxes["stem"] = [Path(name).stem for name in boxes.pop("image")]
    boxes["patient"] = boxes["stem"].str.split("_").str[0].astype(int)
    return boxes


def read_radiograph(file: str) -> Radiograph:
    """Read an image of the data set.

    Raises:
        ValueError: it cannot be read; the message names the file.
    """
    try:
        return Radiograph.read(Path(file).read_bytes())
    except RadiographRefused as error:
        raise ValueError(f"{file}: {error}") from error


def cached_pixels(table: pd.DataFrame, side: int, folder: Path) -> NDArray[np.uint8]:
    """Radiographs of a table at one side, decoded on first use and memory-mapped ever after.

    The file is written under another name and moved when complete, so a run that was killed
    leaves no half cache behind. Other files, by name or size, make another cache, and so did
    whole images, before radiographs were cut to their fields.

    Returns:
        uint8 `[images, side, side]`, read-only, in the table's order.
    """
    sizes = [Path(path).stat().st_size for path in table["file"]]
    contents = json.dumps([side, "fields", list(table.index), sizes]).encode()
    key = hashlib.sha256(contents).hexdigest()[:16]
    file = folder / f"{len(table)}-at-{side}-{key}.npy"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.partial")
        pixels = np.lib.format.open_memmap(
            partial, mode="w+", dtype=np.uint8, shape=(len(table), side, side)
        )
        for row, path in enumerate(tqdm(table["file"], desc=f"Decoding to {side} px", unit="img")):
            pixels[row] = read_radiograph(path).at_side(side)
        pixels.flush()
        partial.rename(file)
    return np.load(file, mmap_mode="r")


@dataclass(frozen=True)
class Batch:
    """Radiographs of one part, as they are in the cache."""

    radiographs: Tensor
    """uint8 `[batch, 1, side, side]`."""
    labels: Tensor
    """float `[batch, 14]`, 0 or 1."""
    sources: Tensor
    """long `[batch]`, which native side; see `training.loss`."""
    mined: Mined | None = None
    """Where their diseases were mined, in training with a harvest."""

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        return Batch(
            self.radiographs.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            self.sources.to(device, non_blocking=True),
            None
            if self.mined is None
            else Mined(*(part.to(device, non_blocking=True) for part in self.mined)),
        )


class RadiographDataset(Dataset[Batch]):
    """A part of ChestX-ray14 that is read a whole batch at a time.

    `sources` numbers the native sides of the whole data set: see `training.loss`.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        pixels: NDArray[np.uint8],
        sides: list[int],
        mined: MinedMasks | None = None,
    ) -> None:
        self.pixels, self.mined = pixels, mined
        self.labels = torch.tensor(table[list(DISEASES)].to_numpy(np.float32))
        self.sources = torch.tensor([sides.index(side) for side in table["native_side"]])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> Batch:
        return self.__getitems__([row])

    def __getitems__(self, rows: list[int]) -> Batch:
        order = np.asarray(rows)
        radiographs = torch.from_numpy(self.pixels[order])[:, None]
        mined = None if self.mined is None else self.mined.of(rows)
        return Batch(radiographs, self.labels[order], self.sources[order], mined)
