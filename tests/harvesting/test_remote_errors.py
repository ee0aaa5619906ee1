"""What the library of a cloud raises becomes an `OSError` that names its kind and no secret."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from harvest_helpers import fill, harvest, options, rows

from harvesting.dataset import Dataset
from harvesting.harvest import Harvest
from harvesting.items import Item, ItemUnreadable
from harvesting.labels import read_labels
from harvesting.local import local_engine
from harvesting.processes import WorkFailed
from harvesting.reader import Reader
from harvesting.remote import named_errors, without_secrets
from harvesting.sources import Source, SourceGone

URL = "cloud://user:secret@bucket/archive?token=secret"


class NoCredentialsError(Exception):
    """As botocore's, which is no `OSError` either."""


class CloudFiles(MemoryFileSystem):
    """Object storage that knows no one; it speaks up once it is asked for something."""

    protocol = "cloud"

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise NoCredentialsError("no credentials for secret")

    isdir = exists = info = ls = open = cat_file = _refuse


@pytest.fixture(autouse=True)
def cloud() -> None:
    fsspec.register_implementation("cloud", CloudFiles, clobber=True)


@pytest.mark.parametrize("ask", [Source.open, read_labels, Dataset.open])
def test_whoever_asks_first_hears_of_it_in_a_sentence(ask: Any) -> None:
    with pytest.raises(OSError, match="NoCredentialsError") as failed:
        ask(URL)
    assert str(failed.value) == "cloud://bucket/archive cannot be had (NoCredentialsError)."


def test_a_file_that_a_cloud_does_not_give_is_unreadable(tmp_path: Path) -> None:
    source = replace(Source.open(str(tmp_path)), files=CloudFiles())
    with pytest.raises(ItemUnreadable, match=r"cannot be read \(NoCredentialsError\)") as failed:
        Reader(source).read(Item("a.png", size=1))
    assert failed.value.reason == "unreadable"
    with pytest.raises(ItemUnreadable, match="NoCredentialsError"):
        Reader(source).read(Item("m.tar/a.png", "m.tar", 0, 1))


def test_a_cloud_that_no_longer_answers_is_a_source_that_is_gone(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    folder = fill(tmp_path / "archive", 3)
    begun = Harvest.open(options(folder, tmp_path / "out", tiny_bundle))
    gone = replace(begun.job.source, url=URL, files=CloudFiles())
    with pytest.raises(SourceGone, match=r"^cloud://bucket/archive .* \(NoCredentialsError\)"):
        gone.require_reachable()
    begun = replace(begun, job=replace(begun.job, source=gone))
    with pytest.raises(WorkFailed, match=r"^cloud://bucket/archive cannot be reached any more"):
        begun.work(local_engine(1), lambda done: None)
    assert not list((tmp_path / "out").glob("radiographs/*/*"))
    assert len(rows(harvest(folder, tmp_path / "out", tiny_bundle))["radiographs"]) == 3


@pytest.mark.parametrize("fault", [ZeroDivisionError("x"), ItemUnreadable("missing", "x")])
def test_faults_of_its_own_are_left_as_they_are(fault: Exception) -> None:
    with pytest.raises(type(fault)), named_errors(URL):
        raise fault


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/a/*.png", "s3://bucket/a/*.png"),
        ("https://me:pass@host:8080/a.zip?sig=abc&x=1", "https://host:8080/a.zip"),
        ("simplecache::sftp://me:pass@host/a@b.png", "simplecache::sftp://host/a@b.png"),
        ("/mnt/archive/a?.png", "/mnt/archive/a?.png"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
