"""What is kept of a table of labels once a plan holds what it says."""

from dataclasses import dataclass
from typing import Self

from harvesting.labels import Labels


@dataclass(frozen=True, slots=True)
class LabelTable:
    """A table of labels without its lines, which take more memory than the plan."""

    sha256: str
    """Of the table."""
    unused: tuple[str, ...]
    """Columns that name no disease of the model."""
    lines: int

    @classmethod
    def of(cls, labels: Labels) -> Self:
        return cls(labels.sha256, labels.unused, len(labels))

    def __len__(self) -> int:
        return self.lines
