"""How long reading may take before it is taken for hanging. Generous: slow is no fault."""

from collections.abc import Sequence
from dataclasses import dataclass

from harvesting.archives import reads_onwards
from harvesting.items import Item

SLOWEST = 5_000_000
"""Bytes a second of the slowest storage, or decompressor, that is waited for."""


@dataclass(frozen=True)
class Limits:
    """Seconds for a shard whose files are read together, and for a file that is read alone."""

    start: float = 15 * 60
    """Of each shard: the model may have to be opened, and built for a GPU."""
    together: float = 5
    """Of each file of a shard."""
    alone: float = 60
    """Of a file that a process of its own reads."""

    def of_item(self, item: Item) -> float:
        """For a file that is read alone."""
        return self.alone + (_way(item) + (item.size or 0)) / SLOWEST

    def of_shard(self, items: Sequence[Item], attempts: int) -> float:
        """For a whole shard.

        Args:
            items: of the shard.
            attempts: how often each may be read alone; 0 where they are read together.
        """
        if attempts:
            return self.start + attempts * sum(map(self.of_item, items))
        size = sum(item.size or 0 for item in items)
        way = max(map(_way, items), default=0)
        return self.start + self.together * len(items) + (way + size) / SLOWEST


def _way(item: Item) -> int:
    """Bytes that are decompressed before the item's first."""
    onwards = item.archive is not None and reads_onwards(item.archive)
    return (item.offset or 0) if onwards else 0
