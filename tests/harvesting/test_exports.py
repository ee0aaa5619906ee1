"""coco.json and boxes.csv as other tools read them."""

import csv
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import made_up_rows as rows
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from harvesting.dataset import Dataset
from harvesting.exports import write_exports
from harvesting.rows import FindingRow, Rows
from harvesting.storage import write_stream
from localization import DISEASES, Box
from training.dataset import ChestXray14
from training.protocol import read_targets

HOSTILE = (
    "=HYPERLINK(1).png",
    "+1.png",
    "-1.png",
    "@SUM(1).png",
    "\t=1.png",
    'a "quoted", name.png',
    "a;=1+1.png",
    "two\nlines.png",
    "<script>alert(1)</script>.png",
    "Lunge é 胸.png",
)


@pytest.fixture
def folder(write_dataset: Callable[..., Path]) -> Path:
    """Two shards with a finding in each radiograph, an empty one between them, exported."""
    folder = write_dataset([rows.shard(0), Rows((), (), ()), rows.shard(2)])
    write_exports(Dataset.open(str(folder)))
    return folder


def all_findings(folder: Path) -> list[FindingRow]:
    dataset = Dataset.open(str(folder))
    return [row for shard in dataset.shards() for row in dataset.findings(shard)]


def read_boxes(file: Path) -> list[tuple[str, str, tuple[float, ...]]]:
    with file.open(newline="", encoding="utf-8") as lines:
        _, *found = csv.reader(lines)
    return [(path, disease, tuple(map(float, place))) for path, disease, *place in found]


def place(box: Box) -> tuple[float, ...]:
    return box.x, box.y, box.width, box.height


def test_pycocotools_reads_what_was_mined(folder: Path) -> None:
    coco = COCO(str(folder / "coco.json"))
    assert [coco.cats[k]["name"] for k in range(1, 15)] == list(DISEASES)
    # Three radiographs of each of two shards; the failed ones are no images.
    names = {image["id"]: image["file_name"] for image in coco.imgs.values()}
    assert names == dict(
        enumerate(("0/0.png", "0/1.png", "0/2.png", "2/0.png", "2/1.png", "2/2.png"), 1)
    )
    assert {(image["width"], image["height"]) for image in coco.imgs.values()} == {(96, 64)}
    found = [
        (
            names[each["image_id"]],
            coco.cats[each["category_id"]]["name"],
            tuple(each["bbox"]),
            each["score"],
            each["attributes"],
        )
        for each in coco.anns.values()
    ]
    assert found == [
        (
            row.path,
            row.disease,
            place(box),
            box.score,
            {"step": box.step, "labelled": True, "probability": round(row.probability, 6)},
        )
        for row in all_findings(folder)
        for box in row.boxes
    ]
    assert list(coco.anns) == list(range(1, len(found) + 1))
    for each in coco.anns.values():
        assert each["area"] == pytest.approx(each["bbox"][2] * each["bbox"][3])


def test_as_detections_of_themselves_they_have_an_average_precision_of_one(folder: Path) -> None:
    truth = COCO(str(folder / "coco.json"))
    annotations = json.loads((folder / "coco.json").read_text())["annotations"]
    scores = COCOeval(truth, truth.loadRes(annotations), "bbox")
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
    assert scores.stats[0] == pytest.approx(1.0)


def test_every_box_is_what_cvat_and_label_studio_take_for_a_rectangle(folder: Path) -> None:
    coco = json.loads((folder / "coco.json").read_text())
    assert coco["licenses"] == []
    assert coco["info"]["version"] == "1.0.0"
    for each in coco["annotations"]:
        # CVAT: "Rectangles (if the segmentation field is empty)"; Label Studio reads `score`.
        assert each["segmentation"] == []
        assert each["iscrowd"] == 0
        assert 0 <= each["score"] <= 1
        assert len(each["bbox"]) == 4


def test_where_no_labels_are_known_no_attribute_speaks_of_them(
    write_dataset: Callable[..., Path],
) -> None:
    findings = (
        rows.finding("a.png", labelled=None),
        rows.finding("a.png", "Edema", labelled=False),
    )
    folder = write_dataset([Rows((rows.radiograph("a.png", None),), findings, ())], mode="open")
    write_exports(Dataset.open(str(folder)))
    annotations = json.loads((folder / "coco.json").read_text())["annotations"]
    assert [each["attributes"].get("labelled") for each in annotations] == [
        None,
        None,
        False,
        False,
    ]
    assert set(annotations[0]["attributes"]) == {"step", "probability"}


def test_another_reader_of_the_list_finds_the_same_boxes(folder: Path) -> None:
    text = (folder / "boxes.csv").read_text()
    assert text.startswith("Image Index,Finding Label,Bbox [x,y,w,h],,,\n")
    assert read_boxes(folder / "boxes.csv") == [
        (row.path, row.disease, place(box)) for row in all_findings(folder) for box in row.boxes
    ]


def test_the_projects_own_reader_takes_the_list_for_the_official_one(
    write_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    path = "images/00000001_000.png"
    folder = write_dataset(
        [
            Rows(
                (rows.radiograph(path),),
                (rows.finding(path), rows.finding(path, "Infiltration")),
                (),
            )
        ]
    )
    write_exports(Dataset.open(str(folder)))
    official = tmp_path / "official"
    (official / "images").mkdir(parents=True)
    (official / path).write_bytes(rows.picture())
    (official / "BBox_List_2017.csv").write_bytes((folder / "boxes.csv").read_bytes())
    (official / "train_val_list.txt").write_text("")
    (official / "test_list.txt").write_text("00000001_000.png\n")
    (official / "Data_Entry_2017.csv").write_text(
        "Image Index,Finding Labels,Patient ID\n00000001_000.png,Mass|Infiltration,1\n"
    )
    targets = read_targets(ChestXray14.read(official))
    assert [(target.stem, target.disease, target.patient) for target in targets] == [
        ("00000001_000", "Infiltration", 1),
        ("00000001_000", "Mass", 1),
    ]
    boxes = rows.finding(path).boxes
    assert targets[1].boxes == [place(box) for box in boxes]


def test_hostile_names_are_one_harmless_cell_of_the_list(
    write_dataset: Callable[..., Path],
) -> None:
    folder = write_dataset(
        [Rows(tuple(map(rows.radiograph, HOSTILE)), tuple(map(rows.finding, HOSTILE)), ())]
    )
    write_exports(Dataset.open(str(folder)))
    found = [path for path, _, _ in read_boxes(folder / "boxes.csv")][::2]
    assert [str(Path(path)) for path in found] == list(HOSTILE)
    assert not any(path.startswith(("=", "+", "-", "@", "\t", "\r")) for path in found)
    # Where a spreadsheet splits lines at semicolons, no cell begins in the middle of a name.
    with (folder / "boxes.csv").open(newline="", encoding="utf-8") as lines:
        cells = [cell for line in csv.reader(lines, delimiter=";") for cell in line]
    assert not any(cell.startswith("=") for cell in cells)
    images = json.loads((folder / "coco.json").read_text())["images"]
    assert [image["file_name"] for image in images] == list(HOSTILE)


def test_the_same_rows_give_the_same_bytes(folder: Path) -> None:
    before = [(folder / name).read_bytes() for name in ("coco.json", "boxes.csv")]
    write_exports(Dataset.open(str(folder)))
    assert [(folder / name).read_bytes() for name in ("coco.json", "boxes.csv")] == before
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("shards", [[], [Rows((rows.failure("a.png"),), (), ())]])
def test_where_nothing_was_mined_both_are_valid_and_empty(
    shards: list[Rows], write_dataset: Callable[..., Path]
) -> None:
    folder = write_dataset([Rows((), (), ()), *shards])
    write_exports(Dataset.open(str(folder)))
    coco = COCO(str(folder / "coco.json"))
    assert coco.imgs == coco.anns == {}
    assert read_boxes(folder / "boxes.csv") == []


def test_another_file_system_gets_them_too(folder: Path) -> None:
    files = fsspec.filesystem("memory")
    files.put(str(folder), "/mined", recursive=True)
    files.rm(["/mined/coco.json", "/mined/boxes.csv"])
    write_exports(Dataset.open("memory://mined"))
    for name in ("coco.json", "boxes.csv"):
        assert files.cat_file(f"/mined/{name}") == (folder / name).read_bytes()
    files.rm("/mined", recursive=True)


def test_what_is_cut_while_it_is_written_replaces_nothing(tmp_path: Path) -> None:
    def cut() -> Iterator[bytes]:
        yield b"new"
        raise RuntimeError("power")

    local, remote = LocalFileSystem(), MemoryFileSystem()
    remote.pipe_file("/cut/file", b"old")
    (tmp_path / "file").write_bytes(b"old")
    for files, path in ((local, str(tmp_path / "file")), (remote, "/cut/file")):
        with pytest.raises(RuntimeError, match="power"):
            write_stream(files, path, cut())
        assert files.cat_file(path) == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    remote.rm("/cut", recursive=True)


def test_memory_does_not_grow_with_the_shards(write_dataset: Callable[..., Path]) -> None:
    folder = write_dataset([rows.shard(k, 200) for k in range(2)])
    few = peak_of_exports(folder)
    folder = write_dataset([rows.shard(k, 200) for k in range(16)])
    assert peak_of_exports(folder) < 1.5 * few


def peak_of_exports(folder: Path) -> int:
    dataset = Dataset.open(str(folder))
    write_exports(dataset)  # What is loaded once does not count.
    tracemalloc.start()
    try:
        write_exports(dataset)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
