"""Which diseases a table of labels says of a radiograph."""

from pathlib import Path

import pytest

from harvesting.labels import Labels, LabelsRefused, read_labels
from harvesting.table import TableRefused
from localization import DISEASES


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "labels.csv"


def labels(table: Path, text: str) -> Labels:
    table.write_text(text)
    return read_labels(str(table))


CHESTXRAY14 = """Image Index,Finding Labels,Patient ID
00000001_000.png,Mass|Cardiomegaly,1
00000001_001.png,No Finding,1
00000002_000.png,Pleural_Thickening,2
"""


def positive(found: Labels, path: str) -> tuple[str, ...] | None:
    """The diseases that are said to be there."""
    said = found.of(path)
    return None if said is None else said.labels


def test_chestxray14s_table_is_matched_by_name_whatever_the_suffix(table: Path) -> None:
    found = labels(table, CHESTXRAY14)
    assert len(found) == 3
    assert positive(found, "00000001_000.png") == ("Cardiomegaly", "Mass")
    assert positive(found, "images/00000001_000.jpg") == ("Cardiomegaly", "Mass")
    assert positive(found, "images_001.tar.gz/images/00000001_001.png") == ()
    assert found.of("00000003_000.png") is None


def test_a_table_of_columns_says_what_is_1(table: Path) -> None:
    found = labels(
        table,
        "Path,Sex,No Finding,Pleural Effusion,edema,Fracture\n"
        "train/p1/view1.jpg,F,,1.0,-1.0,1\n"
        "train/p2/view1.jpg,M,1,0,,\n",
    )
    assert positive(found, "train/p1/view1.jpg") == ("Effusion",)
    assert positive(found, "train/p2/view1.jpg") == ()
    assert found.unused == ("Sex", "No Finding", "Fracture")


def test_what_is_uncertain_blank_or_without_a_column_is_left_open(table: Path) -> None:
    found = labels(table, "path,Mass,Nodule,Edema,Hernia\na.png,1,0,-1,\nb.png,-1.0,,0.0,1.0\n")
    absent = [d for d in DISEASES if d not in ("Mass", "Nodule", "Edema", "Hernia")]
    one, other = found.of("a.png"), found.of("b.png")
    assert one is not None
    assert other is not None
    assert one.labels == ("Mass",)
    assert one.unknown == tuple(d for d in DISEASES if d in ("Edema", "Hernia", *absent))
    assert other.labels == ("Hernia",)
    assert other.unknown == tuple(d for d in DISEASES if d in ("Mass", "Nodule", *absent))


def test_a_line_of_joined_names_speaks_of_every_disease(table: Path) -> None:
    found = labels(table, CHESTXRAY14)
    for name in ("00000001_000.png", "00000001_001.png"):
        said = found.of(name)
        assert said is not None
        assert said.unknown == ()


def test_lines_of_which_one_leaves_open_what_the_other_says_are_refused(table: Path) -> None:
    found = labels(table, "path,Mass\na.png,0\n./a.png,-1\n")
    with pytest.raises(LabelsRefused, match=r"a\.png"):
        found.of("a.png")


def test_the_first_column_names_where_none_is_called_path(table: Path) -> None:
    assert positive(labels(table, "image,Mass\na.png,1\n"), "a.png") == ("Mass",)


def test_equal_names_in_several_folders_are_told_apart_by_their_paths(table: Path) -> None:
    found = labels(table, "path,Mass\nset/p1/v.png,1\nset/p2/v.png,0\n")
    assert positive(found, "p1/v.png") == ("Mass",)
    assert positive(found, "data/set/p2/v.dcm") == ()
    assert found.of("p3/v.png") is None
    with pytest.raises(LabelsRefused, match=r"v\.png"):
        found.of("v.png")


def test_a_uids_last_number_is_no_suffix(table: Path) -> None:
    found = labels(table, "path,Mass\n1.2.840.1,1\n1.2.840.2,0\n")
    assert positive(found, "1.2.840.1") == ("Mass",)
    assert positive(found, "1.2.840.2.dcm") == ()


def test_the_same_suffix_counts_more_than_another(table: Path) -> None:
    found = labels(table, "path,Mass\na.png,1\na.jpg,0\n")
    assert positive(found, "a.png") == ("Mass",)
    assert positive(found, "a.jpg") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Image Index,Finding Labels\na.png,Mass|Fracture\n", "line 2.*'Fracture'"),
        ("path,Mass\na.png,0\nb.png,maybe\n", "line 3.*Mass.*'maybe'"),
        ("path,Sex\na.png,F\n", "Atelectasis"),
        ("path,Mass\na.png\n", "line 2"),
        ("", "Finding Labels"),
    ],
)
def test_what_is_no_table_of_labels_is_refused_by_its_place(
    table: Path, text: str, said: str
) -> None:
    with pytest.raises(LabelsRefused, match=said):
        labels(table, text)


def test_what_is_no_csv_is_refused_by_its_name(table: Path) -> None:
    table.write_bytes("path,Mass\nMüller.png,1\n".encode("latin-1"))
    with pytest.raises(TableRefused, match=rf"{table.name} is no CSV in UTF-8"):
        read_labels(str(table))


def test_the_official_table_has_every_disease(chestxray14: Path) -> None:
    found = read_labels(str(chestxray14 / "Data_Entry_2017_v2020.csv"))
    assert len(found) == 112_120
    every = [positive(found, file.name) for file in sorted((chestxray14 / "images").iterdir())]
    assert None not in every
    assert {disease for one in every if one for disease in one} == set(DISEASES)
