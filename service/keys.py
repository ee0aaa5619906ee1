"""API keys: their names and hashes, from a file or the environment, and who holds which.

A key is 256 random bits, so one fast SHA-256 keeps it: no one can go through so many keys, however
fast each is tried. Slow hashes (bcrypt, Argon2) are for passwords, of which there are few enough
to guess; here they would only make every request, and every wrong key, expensive.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import structlog

from service.settings import Misconfigured

log = structlog.stdlib.get_logger("service")

LOOK_SECONDS = 1.0
"""How often, at most, it is asked whether the file of keys has changed."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A key's name stands in logs: nothing else may be written there by it."""

_ENTRY = re.compile(rf"({NAME.pattern}):([0-9a-f]{{64}})")


class Key(NamedTuple):
    """What is known of a key: its holder's name, and its hash."""

    name: str
    digest: bytes
    """SHA-256, 32 bytes."""

    def __str__(self) -> str:
        return f"{self.name}:{self.digest.hex()}"


def make_key(name: str) -> tuple[str, Key]:
    """Return a new key, and what to keep of it. Raises ValueError for a name that is none."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a key: letters, digits, '.', '_' and '-', 64 at most, please."
        )
    key = f"cxr_{secrets.token_urlsafe(32)}"
    return key, Key(name, _digest(key.encode()))


class KeyRing:
    """The keys that open the service: those of ``entries``, and those of ``file``.

    Entries are ``name:sha256hex``, by commas or white space; the file has one a line, and lines
    that start with ``#``. Two keys may share a name: the old and the new one of a holder.

    The file is read again when it has changed. Where it cannot be, the keys that were read last
    stay; a file without keys leaves none. Raises `Misconfigured` where the first reading fails.
    """

    def __init__(
        self, entries: str, file: Path | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fixed = list(_parse(re.split(r"[,\s]+", entries), "entry", "CXR_API_KEYS"))
        self._file = file
        self._clock = clock
        self._looked = clock()
        self._version = self._stat()
        self._keys = self._read()

    @property
    def names(self) -> list[str]:
        """The names of all keys, sorted."""
        return sorted({key.name for key in self._keys})

    def holder(self, key: bytes) -> str | None:
        """Return the name of a key, in a time that tells nothing of it; None for any other."""
        self._look()
        digest = _digest(key)
        found = None
        for each in self._keys:  # all of them: how long it takes must not say which one it was
            if hmac.compare_digest(each.digest, digest):
                found = each.name
        return found

    def reload(self) -> None:
        """Read the file again; where that fails, the log says why and the old keys stay."""
        self._version = self._stat()
        try:
            self._keys = self._read()
        except Misconfigured as error:
            log.error("keys refused; the old ones stay", reason=str(error))
            return
        log.info("keys loaded", names=self.names)

    def _look(self) -> None:
        now = self._clock()
        if self._file is not None and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            if self._stat() != self._version:
                self.reload()

    def _stat(self) -> tuple[int, ...] | None:
        """What changes when the file does; None where it is not there."""
        try:
            stat = self._file.stat() if self._file is not None else None
        except OSError:
            return None
        return stat and (stat.st_mtime_ns, stat.st_size, stat.st_ino)

    def _read(self) -> list[Key]:
        if self._file is None:
            return self._fixed
        try:
            lines = self._file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"the file of API keys cannot be read: {error}") from error
        return [*self._fixed, *_parse(lines, "line", str(self._file))]


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _parse(entries: Iterable[str], unit: str, source: str) -> Iterator[Key]:
    """Read entries; the empty ones, and remarks, are none.

    An error never quotes an entry: someone may have put the key itself there.
    """
    for number, entry in enumerate(map(str.strip, entries), start=1):
        if not entry or entry.startswith("#"):
            continue
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise Misconfigured(
                f"{unit} {number} of {source} is not NAME:SHA256; `cxr-localizer key NAME` prints "
                "one."
            )
        yield Key(match[1], bytes.fromhex(match[2]))
