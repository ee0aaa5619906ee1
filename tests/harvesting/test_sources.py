"""What a source lists, in which order, and the bytes of each."""

import io
import os
import random
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from source_helpers import fault, listed, read, write_tar, write_zip

from harvesting.items import LARGEST, Item, ItemUnreadable
from harvesting.plan import Plan
from harvesting.reader import Reader
from harvesting.sources import Source, SourceRefused
from harvesting.table import TableRefused

FILES = {"b.png": b"b", "a.jpg": b"a", "sub/c.dcm": b"c", "sub/deep/1.2.840.113": b"d"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        file = tmp_path / "archive" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "archive"


def test_a_folder_is_listed_by_name_and_read(folder: Path) -> None:
    assert listed(folder) == ["a.jpg", "b.png", "sub/c.dcm", "sub/deep/1.2.840.113"]
    assert read(folder) == FILES


def test_a_folders_other_and_hidden_files_are_left_out(folder: Path) -> None:
    for name in ("labels.csv", "notes.txt", ".hidden.png", ".cache/x.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert read(folder) == FILES


def test_links_to_files_are_read_and_links_to_folders_are_not_followed(folder: Path) -> None:
    (folder / "linked.png").symlink_to(folder / "b.png")
    (folder / "around").symlink_to(folder)
    (folder / "broken.png").symlink_to(folder / "nothing")
    assert listed(folder) == sorted(["broken.png", "linked.png", *FILES])
    assert fault(folder) == {"broken.png": "missing"}


def test_a_patterns_matches_are_named_within_its_fixed_part(folder: Path) -> None:
    assert listed(folder / "*.png") == ["b.png"]
    assert listed(folder / "**/*.dcm") == ["sub/c.dcm"]
    assert listed(f"{folder.parent}/arch*/sub") == [
        "archive/sub/c.dcm",
        "archive/sub/deep/1.2.840.113",
    ]


@pytest.mark.parametrize(
    "lines",
    [
        "Path,Sex\nb.png,F\nsub/c.dcm,M\n",
        "Sex,path\nF,b.png\nM,sub/c.dcm\n",
        "image\nb.png\nsub/c.dcm\n",
        "path\n./b.png\nb.png\nsub/c.dcm\n",
        "b.png\nsub/c.dcm\n",
        "\ufeffpath\r\nb.png\r\n\r\nb.png\r\nsub/c.dcm\r\n",
    ],
)
def test_a_list_names_files_beside_it_in_its_own_order(folder: Path, lines: str) -> None:
    (folder / "list.csv").write_text(lines)
    assert read(folder / "list.csv") == {"b.png": b"b", "sub/c.dcm": b"c"}


def test_a_list_may_name_absolute_paths_urls_and_archives(folder: Path, tmp_path: Path) -> None:
    write_zip(tmp_path / "z.zip", [("m.png", b"m")])
    with fsspec.open("memory://bucket/r.png", "wb") as file:
        file.write(b"r")
    paths = [f"{folder}/b.png", "memory://bucket/r.png", "z.zip"]
    (tmp_path / "list.csv").write_text("path\n" + "\n".join(paths))
    source = Source.open(str(tmp_path / "list.csv"))
    reader = Reader(source)
    assert [reader.read(item) for item in source.items()] == [b"b", b"r", b"m"]
    assert listed(tmp_path / "list.csv")[2] == "z.zip/m.png"
    reader.close()


@pytest.mark.parametrize(
    "content", [b"path\nb.png\n\xff.png\n", b'path\n"' + b"x" * 200_000 + b'"\n']
)
def test_a_list_that_is_no_csv_is_refused_by_its_name(folder: Path, content: bytes) -> None:
    (folder / "list.csv").write_bytes(content)
    with pytest.raises(TableRefused, match=r"list\.csv is no CSV in UTF-8"):
        listed(folder / "list.csv")


def test_what_a_list_names_and_is_not_there_or_no_file_is_said(folder: Path) -> None:
    (folder / "list.csv").write_text("path\nb.png\nlost.png\nlost.tar\nsub\n")
    assert fault(folder / "list.csv") == {
        "lost.png": "missing",
        "lost.tar": "missing",
        "sub": "unreadable",
    }


MEMBERS = [
    ("./images/2.png", b"two"),
    ("./images/1.png", b"old"),
    ("./notes.txt", b"no"),
    ("./.DS_Store", b"no"),
    ("./images/1.png", b"one"),
    ("images/3", b""),
]


@pytest.mark.parametrize("name", ["m.tar", "m.tar.gz", "m.TGZ", "m.tar.xz"])
def test_a_tars_members_are_read_in_its_order_the_last_of_a_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").mkdir()
    compression = {"m.tar": "", "m.tar.xz": "xz"}.get(name, "gz")
    write_tar(tmp_path / "a" / name, f"w:{compression}", MEMBERS)
    expected = {
        f"{name}/images/2.png": b"two",
        f"{name}/images/1.png": b"one",
        f"{name}/images/3": b"",
    }
    assert list(read(tmp_path / "a").items()) == list(expected.items())
    assert read(tmp_path / "a" / name) == expected
    assert read(tmp_path / "a" / "m.*") == expected


def test_a_zips_members_are_read(tmp_path: Path) -> None:
    write_zip(tmp_path / "m.zip", [(n, c) for n, c in MEMBERS if c != b"old"])
    assert read(tmp_path / "m.zip") == {
        "m.zip/images/2.png": b"two",
        "m.zip/images/1.png": b"one",
        "m.zip/images/3": b"",
    }


def test_archives_and_files_of_a_folder_are_one_list(folder: Path) -> None:
    write_zip(folder / "m.zip", [("x.png", b"x")])
    write_tar(folder / "sub" / "n.tar", "w:", [("y.png", b"y")])
    assert listed(folder) == [
        "a.jpg",
        "b.png",
        "m.zip/x.png",
        "sub/c.dcm",
        "sub/deep/1.2.840.113",
        "sub/n.tar/y.png",
    ]


def cut_tar(file: Path) -> None:
    write_tar(file, "w:gz", [(f"{k}.png", bytes([k]) * 100_000) for k in range(3)])
    file.write_bytes(file.read_bytes()[:-100])


def no_zip(file: Path) -> None:
    file.write_bytes(b"not a zip")


@pytest.mark.parametrize(("name", "write"), [("m.tar.gz", cut_tar), ("m.zip", no_zip)])
def test_an_archive_that_is_not_whole_is_a_fault_of_its_own(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    assert fault(tmp_path / name)[name] == "unreadable"


@pytest.mark.parametrize("name", ["m.zip", "m.tar"])
def test_whatever_is_broken_in_an_archive_stops_nothing(
    bucket: fsspec.AbstractFileSystem, tmp_path: Path, name: str
) -> None:
    members = [(f"{k}.png", b"x" * 200) for k in range(3)]
    if name == "m.zip":
        write_zip(tmp_path / name, members)
    else:
        write_tar(tmp_path / name, "w:", members)
    whole, chance, faults = (tmp_path / name).read_bytes(), random.Random(1), 0
    for _ in range(3000):
        content = bytearray(whole)
        for _ in range(chance.choice((1, 2, 5))):
            content[chance.randrange(len(content))] = chance.choice((0, 255, chance.randrange(256)))
        bucket.pipe_file(f"/archive/{name}", bytes(content))
        faults += bool(fault(f"memory://archive/{name}"))
    assert faults > 100


def test_a_member_that_the_archive_does_not_give_is_unreadable(tmp_path: Path) -> None:
    write_zip(tmp_path / "m.zip", [("good.png", b"good"), ("bad.png", b"bad" * 1000)])
    content = bytearray((tmp_path / "m.zip").read_bytes())
    place = content.index(b"bad.png") + len(b"bad.png")
    content[place : place + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "m.zip").write_bytes(content)
    assert fault(tmp_path / "m.zip") == {"m.zip/bad.png": "unreadable"}


@pytest.fixture
def bucket() -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    for name, content in FILES.items():
        files.pipe_file(f"/archive/{name}", content)
    yield files
    files.rm("/archive", recursive=True)


def test_an_fsspec_url_is_as_a_folder(bucket: fsspec.AbstractFileSystem) -> None:
    assert read("memory://archive") == FILES
    assert listed("memory://archive/*.png") == ["b.png"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x.png", b"x")
    bucket.pipe_file("/archive/sub/m.zip", packed.getvalue())
    assert read("memory://archive/sub/m.zip") == {"m.zip/x.png": b"x"}


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.dcm").open("wb") as file:
        file.truncate(LARGEST + 1)
    assert fault(tmp_path) == {"huge.dcm": "too-large"}
    reader = Reader(Source.open(str(tmp_path)))
    with pytest.raises(ItemUnreadable) as refused:
        reader.read(Item("m.tar/x.png", "m.tar", 0, LARGEST + 1))
    assert refused.value.reason == "too-large"


def test_a_file_that_may_not_be_read_is_unreadable(tmp_path: Path) -> None:
    # A folder of a file's name: root may read any file.
    reader = Reader(Source.open(str(tmp_path)))
    (tmp_path / "x.png").mkdir()
    with pytest.raises(ItemUnreadable, match="Is a directory"):
        reader.read(Item("x.png", size=1))


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    for name in ("pipe.png", "pipe.tar"):
        os.mkfifo(folder / name)
    (folder / "linked.tar").symlink_to(folder / "pipe.tar")
    (folder / "list.csv").write_text("path\npipe.png\npipe.tar\n")
    named = {"pipe.png": "unreadable", "pipe.tar": "unreadable"}
    assert fault(folder) == {**named, "linked.tar": "unreadable"}
    assert fault(folder / "pipe.*") == named
    assert fault(folder / "list.csv") == named
    assert fault(folder / "pipe.tar") == {"pipe.tar": "unreadable"}


def test_a_link_to_an_archive_is_as_the_archive(folder: Path, tmp_path: Path) -> None:
    write_zip(tmp_path / "m.zip", [("x.png", b"x")])
    (folder / "linked.zip").symlink_to(tmp_path / "m.zip")
    assert read(folder)["linked.zip/x.png"] == b"x"


def test_a_name_that_is_not_utf_8_is_a_row_and_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    for name in (b"M\xfcller.dcm", b"\xe9t\xe9/1.dcm", b"\xe9.tar", b"good.png"):
        file = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    with tarfile.open(
        folder / "m.tar", "w:", format=tarfile.GNU_FORMAT, encoding="latin-1"
    ) as archive:
        about = tarfile.TarInfo("caf\xe9.png")
        about.size = 1
        archive.addfile(about, io.BytesIO(b"c"))
    write_tar(Path(os.fsdecode(os.fsencode(folder) + b"/\xe9.tar")), "w:", [("x.png", b"x")])
    source, refused = Source.open(str(folder)), {}
    plan = Plan.of(source.items(), 10).shard(0).items
    reader = Reader(source)
    for item in plan:
        try:
            assert reader.read(item) in (b"x", b"c")
        except ItemUnreadable as error:
            refused[item.path] = str(error)
    reader.close()
    assert {item.path for item in plan} - set(refused) == {"good.png", r"m.tar/caf\xe9.png"}
    assert refused == dict.fromkeys(
        (r"M\xfcller.dcm", r"\xe9t\xe9/1.dcm", r"\xe9.tar/x.png"),
        "Its name is not UTF-8: rename it.",
    )


def test_one_file_is_a_source(folder: Path) -> None:
    assert read(folder / "b.png") == {"b.png": b"b"}


def test_nothing_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="nowhere"):
        Source.open(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("first", ["d/0.tar", "studies/IM0001", "scan.ima", "b"])
def test_a_first_line_that_names_no_column_is_a_path(tmp_path: Path, first: str) -> None:
    file = tmp_path / first
    file.parent.mkdir(parents=True, exist_ok=True)
    if first.endswith(".tar"):
        write_tar(file, "w:", [("x.png", b"x")])
    else:
        file.write_bytes(b"x")
    (tmp_path / "c.png").write_bytes(b"c")
    (tmp_path / "list.csv").write_text(f"{first},F\nc.png,M\n")
    member = f"{first}/x.png" if first.endswith(".tar") else first
    assert read(tmp_path / "list.csv") == {member: b"x", "c.png": b"c"}


@pytest.mark.parametrize("header", ["File", "filename", "image", "Image Index"])
def test_a_header_is_a_first_line_that_names_the_column_of_paths(folder: Path, header: str) -> None:
    (folder / "list.csv").write_text(f"Sex,{header}\nF,b.png\n")
    assert read(folder / "list.csv") == {"b.png": b"b"}


def test_a_list_of_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"")
    with pytest.raises(TableRefused, match=r"list\.csv is empty"):
        listed(tmp_path / "list.csv")


def test_what_is_left_out_is_counted_by_its_suffix(folder: Path) -> None:
    for name in ("1.ima", "sub/2.IMA", "notes.txt", ".hidden.ima"):
        (folder / name).write_bytes(b"x")
    write_tar(folder / "m.tar", "w:", [("3.ima", b"x"), ("4.png", b"x")])
    write_zip(folder / "m.zip", [("5.xml", b"x")])
    left_out: Counter[str] = Counter()
    list(Source.open(str(folder)).items(left_out))
    assert left_out == {".ima": 3, ".txt": 1, ".xml": 1}


def test_a_file_that_is_neither_radiograph_nor_archive_nor_csv_is_no_source(folder: Path) -> None:
    (folder / "paths.txt").write_text("b.png\n")
    with pytest.raises(SourceRefused, match=r"paths\.txt is no radiograph.*name it \.csv"):
        Source.open(str(folder / "paths.txt"))
