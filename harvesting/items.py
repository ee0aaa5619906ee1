"""Items: what a source lists, each of which becomes one row."""

from dataclasses import dataclass, replace

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jp2", ".j2k", ".tif", ".tiff", ".webp", ".dcm", ".dicom")
)
"""Of files that are taken for radiographs."""

LARGEST = 512 * 1024**2
"""Bytes of the largest file that is read."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a source, or one member of an archive in it."""

    path: str
    """See `RadiographRow.path`."""
    archive: str | None = None
    """The archive that holds it, as a path within the source."""
    offset: int | None = None
    """Of a tar's member: where its bytes begin in the unpacked archive."""
    size: int | None = None
    """In bytes, where the listing says it."""
    fault: str | None = None
    """Why it cannot be read, where the listing found out; a sentence."""
    labels: tuple[str, ...] | None = None
    """See `RadiographRow.labels`."""
    unknown: tuple[str, ...] = ()
    """See `RadiographRow.unknown`."""


class ItemUnreadable(Exception):
    """An item whose bytes are not to be had; `reason` is one of `harvesting.shard.REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def in_unicode(item: Item) -> Item:
    """An item whose name a table can hold: bytes of a file's name that are no UTF-8 are written as
    `\\xff`, by which the file cannot be found again."""
    path = unicode_name(item.path)
    if path == item.path:
        return item
    fault = item.fault or "Its name is not UTF-8: rename it."
    return replace(item, path=path, archive=None, offset=None, fault=fault)


def unicode_name(name: str) -> str:
    """A name in which bytes that are no UTF-8 are written as `\\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def looks_like_radiograph(name: str) -> bool:
    """Whether a file's name is a radiograph's: by its suffix, or because it has none.

    DICOM archives name files without a suffix, or by a UID, which ends in a number.
    """
    suffix = suffix_of(name)
    return suffix in SUFFIXES or suffix == ""


def suffix_of(name: str) -> str:
    """A file name's suffix in lower case; "" where it has none, or only a UID's number."""
    _, dot, last = name.rpartition(".")
    return "" if not dot or last.isdigit() else f".{last.lower()}"


def is_hidden(path: str) -> bool:
    """Whether a part of a path begins with a dot."""
    return any(part.startswith(".") for part in path.split("/") if part not in (".", ".."))


def join(root: str, path: str) -> str:
    """A path within a root; the root of some file systems is the empty string."""
    return f"{root.rstrip('/')}/{path}" if root else path
