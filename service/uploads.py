"""Uploads in shared memory: written as they come, read by the worker that gets them."""

import mmap
import os
from collections import deque
from typing import Self

KEPT_BYTES = 64 * 1024**2
"""Memory that uploads which are done may keep for the next ones; more is given back."""


class Reader:
    """Reads uploads, in any process.

    What it has mapped once stays mapped: to map a file's pages anew takes longer than to copy them.

    Args:
        file: that of the `Uploads`, which is the caller's to close.
    """

    def __init__(self, file: int) -> None:
        self.file = file
        self._mapped: dict[int, mmap.mmap] = {}
        """By offset, each as long as the longest that was read there."""

    def read(self, offset: int, length: int) -> memoryview:
        """An upload, where it lies: to be read while it is one."""
        if not length:
            return memoryview(b"")
        memory = self._mapped.get(offset)
        if memory is None or len(memory) < length:
            # All pages at once, which takes half the time of one after another.
            flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
            memory = mmap.mmap(self.file, length, flags=flags, prot=mmap.PROT_READ, offset=offset)
            self._mapped[offset] = memory
        return memoryview(memory)[:length]


class Uploads:
    """A file in memory, which no disk ever holds, with a stretch for each upload of a time.

    Args:
        max_bytes: the length of the longest upload.
    """

    def __init__(self, max_bytes: int) -> None:
        self.file = os.memfd_create("uploads")
        self._size = -(-max_bytes // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        self._end = 0
        self._bare: list[Upload] = []
        """Free ones without memory."""
        self._free: deque[Upload] = deque()
        """Free ones with memory, the latest on the right."""
        self._kept = 0
        """Bytes of these."""

    def open(self) -> "Upload":
        """Return an upload of which nothing has come yet."""
        if self._free:
            upload = self._free.pop()  # the likeliest to be in a cache
            self._kept -= upload.kept
            return upload
        return self._bare.pop() if self._bare else self._add()

    def _add(self) -> "Upload":
        offset, self._end = self._end, self._end + self._size
        os.ftruncate(self.file, self._end)
        return Upload(self, offset, mmap.mmap(self.file, self._size, offset=offset))

    def take_back(self, upload: "Upload") -> None:
        """Take an upload that no one needs any more.

        Where too much is kept then, what was free for longest gives its memory back.
        """
        if not upload.kept:
            self._bare.append(upload)
            return
        self._free.append(upload)
        self._kept += upload.kept
        while self._kept > KEPT_BYTES:
            oldest = self._free.popleft()
            self._kept -= oldest.kept
            oldest.forget()
            self._bare.append(oldest)

    def close(self) -> None:
        """Give all memory back that no upload needs any more."""
        self._free.clear()
        self._bare.clear()
        os.close(self.file)


class Upload:
    """One upload. It is needed until no `with` block is within it any more.

    Its bytes are those of ``file`` from ``offset`` on; see `Reader`.
    """

    def __init__(self, uploads: Uploads, offset: int, memory: mmap.mmap) -> None:
        self.file, self.offset = uploads.file, offset
        self.length = self.kept = 0
        self._uploads, self._memory = uploads, memory
        self._view = memoryview(memory)
        self._users = 0

    def write(self, data: bytes) -> None:
        """Add what has come. Raises `IndexError` where it exceeds the longest upload."""
        end = self.length + len(data)
        self._memory[self.length : end] = data
        self.length = end

    def rest(self) -> memoryview:
        """Where what is still to come belongs; whoever writes there adds to ``length``."""
        return self._view[self.length :]

    def read(self) -> bytes:
        """Return all that has come."""
        return self._memory[: self.length]

    def forget(self) -> None:
        """Give its memory back."""
        self._memory.madvise(mmap.MADV_REMOVE)
        self.kept = 0

    def __enter__(self) -> Self:
        self._users += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if not self._users:
            self.kept, self.length = max(self.kept, self.length), 0
            self._uploads.take_back(self)
