"""How a process deals with memory that it has done with."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

KEPT_BYTES = 64 * 1024**2
"""What may stay free at the end of the heap."""

SINGLE_BYTES = 32 * 1024**2
"""From which size on memory is the system's again once it is free; malloc allows no more."""


def keep_freed_memory() -> None:
    """Keep what is freed for what comes next, up to a limit.

    By default glibc gives large pieces back, and the system clears every page of the next one: a
    quarter of the time of a large radiograph, and most of that of receiving it.
    """
    # Of the C library alone, where it is glibc.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, SINGLE_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
