"""Rows come back from a data set as they went in."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harvesting.dataset import Dataset, DatasetRefused
from harvesting.rows import (
    DisagreementRow,
    FindingRow,
    Patient,
    RadiographRow,
    Rows,
    decode_heatmap,
    encode_heatmap,
)
from harvesting.run import RUN
from localization import DISEASES, Box, Field, Finding

HEATMAP = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
FINDING = Finding("Mass", 0.5, 0.25, HEATMAP, (), HEATMAP[None])

ROWS = Rows(
    (
        RadiographRow(
            "a/1.dcm",
            "localized",
            format="DICOM",
            width=640,
            height=480,
            field=Field(1, 2, 600, 400),
            image_left="patient right",
            window="window 1/2 (LINEAR)",
            typicality=0.5,
            warnings=("window",),
            labels=("Mass",),
            unknown=("Edema", "Hernia"),
            probabilities=tuple(k / 16 for k in range(len(DISEASES))),
            patient=Patient("a1", "b2", "c3"),
        ),
        RadiographRow("a/2.png", "failed", "empty", "The file is empty.", labels=()),
    ),
    (
        FindingRow(
            "a/1.dcm",
            "Mass",
            0.5,
            0.25,
            True,
            (Box(0.1, 0.2, 0.3, 0.4, 0.9), Box(1, 2, 3, 4, 0.5, 1)),
            encode_heatmap(FINDING),
        ),
    ),
    (DisagreementRow("a/1.dcm", "Edema", 0.75, 0.5, "model-only"),),
)


def test_rows_come_back(write_dataset: Callable[..., Path]) -> None:
    dataset = Dataset.open(str(write_dataset([ROWS, Rows((), (), ())])))
    assert list(dataset.shards()) == [0, 1]
    assert dataset.radiographs(0) == list(ROWS.radiographs)
    assert dataset.findings(0) == list(ROWS.findings)
    assert dataset.disagreements(0) == list(ROWS.disagreements)
    assert dataset.radiographs(1) == []


def test_one_file_of_a_shard_is_found(write_dataset: Callable[..., Path]) -> None:
    dataset = Dataset.open(str(write_dataset([ROWS])))
    assert dataset.radiograph(0, "a/1.dcm") == (ROWS.radiographs[0], list(ROWS.findings))
    assert dataset.radiograph(0, "a/2.png") == (ROWS.radiographs[1], [])
    with pytest.raises(KeyError):
        dataset.radiograph(0, "a/3.png")


def test_labels_say_yes_no_or_neither() -> None:
    known, unknown = ROWS.radiographs[0], replace(ROWS.radiographs[0], labels=None, unknown=())
    assert [known.labelled(disease) for disease in ("Mass", "Edema", "Nodule")] == [
        True,
        None,
        False,
    ]
    assert unknown.labelled("Mass") is None


def test_a_data_set_of_the_format_before_is_refused(write_dataset: Callable[..., Path]) -> None:
    folder = write_dataset([ROWS])
    run = (folder / RUN).read_text().replace('"format": 2', '"format": 1')
    (folder / RUN).write_text(run)
    with pytest.raises(ValueError, match=r"not of format 2.*harvest again"):
        Dataset.open(str(folder))


def test_a_heat_map_keeps_a_level_of_256() -> None:
    np.testing.assert_allclose(decode_heatmap(encode_heatmap(FINDING)), HEATMAP, atol=0.5 / 255)


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetRefused, match=RUN):
        Dataset.open(str(tmp_path))


def test_an_unfinished_one_is_refused(write_dataset: Callable[..., Path]) -> None:
    folder = write_dataset([ROWS])
    run = (folder / RUN).read_text().replace('"finished": true', '"finished": false')
    (folder / RUN).write_text(run)
    with pytest.raises(DatasetRefused, match="not finished"):
        Dataset.open(str(folder))
