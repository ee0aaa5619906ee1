"""Sources that cannot be listed, or are not there any more."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from source_helpers import write_tar

from harvesting.sources import Source, SourceGone, SourceRefused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, and one in a folder below."""
    (tmp_path / "archive/sub").mkdir(parents=True)
    for name in ("a.jpg", "b.png", "sub/c.dcm"):
        (tmp_path / "archive" / name).write_bytes(b"x")
    return tmp_path / "archive"


class FailingListings(LocalFileSystem):
    """Folders of a certain name cannot be listed, as without a right to it: root has every one."""

    cachable = False

    def __init__(self, forbidden: str) -> None:
        super().__init__()
        self.forbidden = forbidden

    def ls(self, path: str, detail: bool = False, **kwargs: Any) -> Any:
        if path.endswith(self.forbidden):
            raise PermissionError(13, "Permission denied", path)
        return super().ls(path, detail, **kwargs)


def test_a_root_that_cannot_be_listed_is_refused_and_a_folder_below_is_a_row(folder: Path) -> None:
    source = Source.open(str(folder))
    below = list(replace(source, files=FailingListings("sub")).items())
    assert [item.path for item in below] == ["a.jpg", "b.png", "sub"]
    assert below[2].fault == "The folder cannot be listed (Permission denied)."
    with pytest.raises(SourceRefused, match=r"archive cannot be listed \(Permission denied\)"):
        list(replace(source, files=FailingListings("archive")).items())


def test_a_source_that_goes_away_while_it_is_listed_stops_the_listing(folder: Path) -> None:
    items = replace(Source.open(str(folder)), files=FailingListings("sub")).items()
    assert next(items).path == "a.jpg"
    shutil.rmtree(folder)
    assert next(items).path == "b.png"
    with pytest.raises(SourceGone, match="archive cannot be reached any more"):
        next(items)


@pytest.mark.parametrize("pattern", ["", "/*", "/b.png", "/list.csv"])
def test_a_source_is_reachable_while_it_is_there(folder: Path, pattern: str) -> None:
    (folder / "list.csv").write_text("path\nb.png\n")
    source = Source.open(f"{folder}{pattern}")
    source.require_reachable()
    shutil.rmtree(folder)
    with pytest.raises(SourceGone, match="No such file"):
        source.require_reachable()


def test_an_empty_folder_is_what_a_file_system_leaves_that_went_away(folder: Path) -> None:
    source = Source.open(str(folder))
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(SourceGone, match="it is empty"):
        source.require_reachable()


class VanishingArchive(LocalFileSystem):
    """An archive that is opened takes its whole folder away."""

    cachable = False

    def open(self, path: str, *args: Any, **kwargs: Any) -> Any:
        shutil.rmtree(Path(path).parent)
        return super().open(path, *args, **kwargs)


def test_an_archive_that_goes_away_with_its_source_stops_the_listing(folder: Path) -> None:
    write_tar(folder / "m.tar", "w:", [("x.png", b"x")])
    items = replace(Source.open(str(folder)), files=VanishingArchive()).items()
    assert [next(items).path, next(items).path] == ["a.jpg", "b.png"]
    with pytest.raises(SourceGone, match="archive cannot be reached any more"):
        next(items)
