"""What a source lists and gives; archives to write."""

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

from harvesting.items import ItemUnreadable
from harvesting.reader import Reader
from harvesting.sources import Source


def listed(url: object) -> list[str]:
    return [item.path for item in Source.open(str(url)).items()]


def read(url: object) -> dict[str, bytes]:
    """All that a source gives, read by a copy of it, as other processes have it."""
    source: Source = pickle.loads(pickle.dumps(Source.open(str(url))))
    reader = Reader(source)
    found = {item.path: reader.read(item) for item in source.items()}
    reader.close()
    return found


def fault(url: object) -> dict[str, str]:
    source = Source.open(str(url))
    reader, reasons = Reader(source), {}
    for item in source.items():
        try:
            reader.read(item)
        except ItemUnreadable as error:
            reasons[item.path] = error.reason
    reader.close()
    return reasons


def write_tar(file: Path, mode: str, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(file, mode) as archive:
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))


def write_zip(file: Path, members: list[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
