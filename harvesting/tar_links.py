"""Links within a tar: which member's bytes each of them has."""

import tarfile
from collections.abc import Iterator
from posixpath import dirname, join, normpath
from typing import NamedTuple


class Place(NamedTuple):
    """Where a member's bytes lie in the unpacked archive."""

    offset: int
    size: int


class TarLinks:
    """Takes a tar's members in their order, and finds out where links lead.

    A hard link has the bytes of an earlier member. A symbolic one may lead to a later member, so
    that all of them are found out at the end.
    """

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._links: dict[str, tuple[str, str]] = {}
        """By the plain name: the name as it stands in the archive, and what it leads to."""
        self._folders = {"."}

    def see(self, member: tarfile.TarInfo) -> Place | None:
        """Where a member's bytes are; None of what is no file, or is found out later."""
        name = normpath(member.name)
        if member.isreg():
            return self._place(name, Place(member.offset_data, member.size))
        if member.islnk():
            target = normpath(member.linkname)
            if target in self._places:
                return self._place(name, self._places[target])
            self._links[name] = member.name, target
        elif member.isdir():
            self._folders.add(name)
        elif member.issym():
            self._links[name] = member.name, normpath(join(dirname(name), member.linkname))
        return None

    def _place(self, name: str, place: Place) -> Place:
        self._links.pop(name, None)
        self._places[name] = place
        return place

    def resolved(self) -> Iterator[tuple[str, Place | None]]:
        """The links that were left, by their names in the archive; None for one that leads to no
        file of the archive. Links to folders are left out."""
        if not self._links:
            return
        folders = self._folders.union(*map(_folders, self._places))
        for name, (written, _) in self._links.items():
            target = self._follow(name)
            if target not in folders:
                yield written, self._places.get(target)

    def _follow(self, name: str) -> str:
        """What a chain of links ends at; itself where it leads around."""
        seen: set[str] = set()
        while name in self._links and name not in seen:
            seen.add(name)
            name = self._links[name][1]
        return name


def _folders(name: str) -> Iterator[str]:
    """Those that a file lies in."""
    while (parent := dirname(name)) not in ("", name):
        yield parent
        name = parent
