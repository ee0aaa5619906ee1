"""Why a file is not read as a radiograph."""

from collections.abc import Mapping

SMALLEST_SIDE = 64
"""Pixels. Below it there is no radiograph to read: the smallest that a model was trained on."""


class RadiographRefused(ValueError):
    """A file that is not read as a radiograph.

    `reason` is a stable kebab-case slug for machines; the message is one sentence that a person
    can act on; `evidence` is what was measured or read, and what it was compared with. None quotes
    what a file says of its patient.
    """

    def __init__(
        self, reason: str, message: str, evidence: Mapping[str, float | str] | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.evidence = dict(evidence or {})

    def __reduce__(
        self,
    ) -> tuple[type["RadiographRefused"], tuple[str, str, dict[str, float | str]]]:
        return RadiographRefused, (self.reason, str(self), self.evidence)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a size that a header promises, before anything of that size is made.

    Raises:
        RadiographRefused: `too-many-pixels` or `too-small`.
    """
    if width * height > max_pixels:
        raise RadiographRefused(
            "too-many-pixels",
            f"The image has {width} x {height} pixels, more than the {max_pixels} that are read; "
            "send it at a lower resolution.",
        )
    if min(width, height) < SMALLEST_SIDE:
        raise RadiographRefused(
            "too-small",
            f"The image has {width} x {height} pixels; a radiograph needs at least "
            f"{SMALLEST_SIDE} on each side.",
        )
