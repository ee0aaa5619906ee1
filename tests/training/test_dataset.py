import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from localization import DISEASES
from training.dataset import ChestXray14, cached_pixels, is_validation_patient


def test_images_are_found_by_stem_in_every_folder_and_missing_ones_named(
    official_files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        data = ChestXray14.read(official_files)
    assert data.missing == ("00000001_000",)
    assert "1 of 40 images are missing, the first: 00000001_000" in caplog.text
    assert len(data.table) == 39
    assert {Path(file).suffix for file in data.table["file"]} == {".png", ".jpg"}


def test_labels_are_the_official_ones(data: ChestXray14) -> None:
    row = data.table.loc["00000004_000"]
    assert row["patient"] == 4
    assert [disease for disease in DISEASES if row[disease]] == ["Mass"]


def test_parts_share_no_patient_and_follow_the_official_lists(data: ChestXray14) -> None:
    parts = {name: set(data.part(name)["patient"]) for name in ("training", "validation", "test")}
    assert parts["test"] == set(range(30, 40))
    assert not parts["training"] & parts["validation"]
    assert parts["validation"] == {p for p in range(30) if is_validation_patient(p)} - {1}


def test_the_validation_part_is_a_tenth_of_the_patients() -> None:
    share = np.mean([is_validation_patient(patient) for patient in range(20_000)])
    assert share == pytest.approx(0.1, abs=0.01)


def test_a_smaller_share_of_the_training_patients_is_a_part_of_a_larger_one(
    data: ChestXray14,
) -> None:
    table = pd.DataFrame({"patient": np.arange(20_000), "part": "training"}, dtype=object)
    many = replace(data, table=table)
    shares = {s: many.with_training_share(s).table["patient"] for s in (0.25, 0.5, 1.0)}
    for share, patients in shares.items():
        assert len(patients) == pytest.approx(share * 20_000, rel=0.03)
    assert set(shares[0.25]) < set(shares[0.5]) < set(shares[1.0])


def test_patients_who_are_not_learned_from_stay_where_they_are(data: ChestXray14) -> None:
    fewer = data.with_training_share(0.5)
    assert 0 < len(fewer.part("training")) < len(data.part("training"))
    for part in ("validation", "test"):
        pd.testing.assert_frame_equal(fewer.part(part), data.part(part))


def test_boxes_use_the_official_disease_names(data: ChestXray14) -> None:
    assert list(data.boxes["disease"]) == ["Effusion", "Infiltration", "Mass"]
    assert data.boxes.iloc[0][["x", "y", "width", "height"]].tolist() == [512, 256, 256, 256]


def test_pixels_are_decoded_once(data: ChestXray14, tmp_path: Path) -> None:
    table = data.part("validation")
    first = cached_pixels(table, 32, tmp_path)
    assert first.shape == (len(table), 32, 32)
    assert first[0, 10, 20] > first[0, 25, 5]
    [file] = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    again = cached_pixels(table, 32, tmp_path)
    assert file.stat().st_mtime_ns == written
    np.testing.assert_array_equal(first, again)


def test_the_cache_holds_the_fields_of_radiographs(tmp_path: Path) -> None:
    inside = np.random.default_rng(0).integers(60, 200, (300, 400), np.uint8)
    for name, pixels in (("bordered", np.pad(inside, 150)), ("exposed", inside)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    names = ["bordered", "exposed"]
    table = pd.DataFrame({"file": [str(tmp_path / f"{name}.png") for name in names]}, index=names)
    bordered, exposed = cached_pixels(table, 32, tmp_path / "cache")
    np.testing.assert_array_equal(bordered, exposed)


def test_a_folder_of_something_else_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train_val_list.txt"):
        ChestXray14.read(tmp_path)


def test_the_real_data_set_has_all_official_boxes(chestxray14: Path) -> None:
    data = ChestXray14.read(chestxray14)
    assert len(data.boxes) == 984
    assert set(data.boxes["stem"]) <= set(data.part("test").index)
    assert data.boxes["disease"].isin(DISEASES).all()
