"""Links within a tar have the bytes of what they lead to."""

import io
import tarfile
from pathlib import Path
from typing import NamedTuple

import pytest
from source_helpers import fault, read

from harvesting.sources import Source


class Linked(NamedTuple):
    name: str
    to: str
    kind: bytes


HARD, SYMBOLIC = tarfile.LNKTYPE, tarfile.SYMTYPE


def write_links(file: Path, links: list[Linked]) -> None:
    """A tar of two files and a folder, then links."""
    with tarfile.open(file, f"w:{'gz' if file.suffix == '.gz' else ''}") as archive:
        for name, content in (("./images/1.png", b"one"), ("store/raw.bin", b"raw")):
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
        for link in links:
            about = tarfile.TarInfo(link.name)
            about.type, about.linkname = link.kind, link.to
            archive.addfile(about)


@pytest.mark.parametrize("name", ["m.tar", "m.tar.gz"])
def test_a_tars_links_have_the_bytes_of_what_they_lead_to(tmp_path: Path, name: str) -> None:
    links = [
        Linked("again.png", "./images/1.png", HARD),
        Linked("hidden/raw.png", "store/raw.bin", HARD),
        Linked("twice.png", "again.png", HARD),
        Linked("images/soft.png", "../store/raw.bin", SYMBOLIC),
        Linked("chain.png", "images/soft.png", SYMBOLIC),
        Linked("early.png", "chain.png", SYMBOLIC),
        Linked("latest", "images", SYMBOLIC),
        Linked("here", ".", SYMBOLIC),
        Linked("notes.txt", "images/1.png", HARD),
    ]
    write_links(tmp_path / name, links)
    assert read(tmp_path / name) == {
        f"{name}/images/1.png": b"one",
        f"{name}/again.png": b"one",
        f"{name}/twice.png": b"one",
        f"{name}/hidden/raw.png": b"raw",
        f"{name}/images/soft.png": b"raw",
        f"{name}/chain.png": b"raw",
        f"{name}/early.png": b"raw",
    }
    # In the order of their bytes, in which a compressed tar is read once.
    items = list(Source.open(str(tmp_path / name)).items())
    assert [item.offset for item in items] == sorted(item.offset or 0 for item in items)


def test_a_tars_link_that_leads_to_no_file_of_it_is_a_row(tmp_path: Path) -> None:
    links = [
        Linked("out.png", "../outside.png", SYMBOLIC),
        Linked("lost.png", "images/lost.png", HARD),
        Linked("around.png", "around.png", SYMBOLIC),
        Linked("one.png", "other.png", SYMBOLIC),
        Linked("other.png", "one.png", SYMBOLIC),
    ]
    write_links(tmp_path / "m.tar", links)
    assert fault(tmp_path / "m.tar") == {f"m.tar/{link.name}": "unreadable" for link in links}
    source = Source.open(str(tmp_path / "m.tar"))
    faults = {item.fault for item in source.items() if item.fault is not None}
    assert faults == {"It is a link to no file of the archive."}


def test_of_a_name_that_is_a_link_and_a_file_the_last_counts(tmp_path: Path) -> None:
    def add(archive: tarfile.TarFile, name: str, content: bytes = b"", to: str = "") -> None:
        about = tarfile.TarInfo(name)
        about.size = len(content)
        if to:
            about.type, about.linkname = SYMBOLIC, to
        archive.addfile(about, io.BytesIO(content))

    with tarfile.open(tmp_path / "m.tar", "w:") as archive:
        add(archive, "a.png", to="c.png")
        add(archive, "a.png", b"file")
        add(archive, "b.png", b"file")
        add(archive, "b.png", to="c.png")
        add(archive, "c.png", b"c")
    assert read(tmp_path / "m.tar") == {
        "m.tar/a.png": b"file",
        "m.tar/b.png": b"c",
        "m.tar/c.png": b"c",
    }
