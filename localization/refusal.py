"""Why a file is not read as a radiograph."""

from collections.abc import Mapping
from types import MappingProxyType

SMALLEST_SIDE = 64
"""Pixels. Below it there is no radiograph to read: the smallest that a model was trained on."""


REASONS: Mapping[str, str] = MappingProxyType(
    {
        "empty": "it holds no byte",
        "unsupported-format": "it is none of the formats that are read",
        "too-many-pixels": "it has more pixels than are decoded",
        "too-small": f"a side has fewer than {SMALLEST_SIDE} pixels",
        "truncated": "it ends before its last pixel",
        "broken": "it cannot be decoded",
        "coloured": "a picture that is not gray",
        "animated": "a PNG or WebP of several frames",
        "several-pages": "a TIFF of several pages",
        "compression": "a TIFF compressed in a way that is not read",
        "photometric": "a TIFF's or DICOM file's pixels mean colours, or what is not read",
        "bit-depth": "a pixel has bits of a number or kind that is not read",
        "no-pixels": "a DICOM file without an image",
        "multi-frame": "a DICOM file of several frames",
        "transfer-syntax": "a DICOM file that no decoder here reads",
        "modality": "a DICOM file of another modality than projection radiography",
        "body-part": "a DICOM file of another part of the body than the chest",
        "view": "a DICOM file of a lateral view",
        "blank": "nothing in the picture differs from the rest",
        "atypical": "it does not look like a frontal chest radiograph",
    }
)
"""Every reason for which a file is refused, and what it says of the file."""


class RadiographRefused(ValueError):
    """A file that is not read as a radiograph.

    `reason` is a stable slug for machines, one of `REASONS`; the message is one sentence that a
    person can act on; `evidence` is what was measured or read, and what it was compared with. None
    quotes what a file says of its patient.
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
