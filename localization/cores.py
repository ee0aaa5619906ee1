"""The cores that this process may use."""

import math
import os
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
"""Where a container sees its own control group."""

QUOTAS = ("cpu.max", "cpu/cpu.cfs_quota_us", "cpu,cpuacct/cpu.cfs_quota_us")
"""Of version 2, `max 100000` or `50000 100000`; of version 1, -1 or 50000, the period beside it."""


def cores(cgroups: Path = CGROUPS) -> int:
    """The number of cores this process may use, by its affinity and its container's limit."""
    allowed = len(os.sched_getaffinity(0))
    for name in QUOTAS:
        with suppress(OSError, ValueError):
            share = _share(cgroups / name)
            return min(allowed, max(1, math.ceil(share)))
    return allowed


def _share(quota: Path) -> float:
    """The cores' worth of time that is given; raises `ValueError` where there is no limit."""
    words = quota.read_text().split()
    if len(words) == 1:
        words.append(quota.with_name("cpu.cfs_period_us").read_text())
    limit, period = map(int, words)
    if limit < 0:
        raise ValueError("no limit")
    return limit / period
