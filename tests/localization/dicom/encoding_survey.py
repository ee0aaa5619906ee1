"""What a model says of one film, RG1 of pydicom-data, however it is encoded.

`scripts/dicom-table` writes the table into docs/dicom.md. Of the lossy encodings its figures depend
on the processor a little, as int8 does; what must hold of them is in the tests.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pydicom
from dicom_files import installed
from dicom_syntaxes import DEPTHS, ENCODERS, LOSSY, NATIVE, in_syntax
from numpy.typing import NDArray
from pydicom.uid import UID, RLELossless

from localization import (
    Box,
    Compute,
    Localization,
    Localizer,
    ModelBundle,
    Radiograph,
    shipped_bundle,
)
from localization.bundle import Precision

FILM = "RG1_UNCR.dcm"
BITS = 15
"""That the film's values have; lossy encoders are given 12 of them, or 8."""

PRECISIONS: tuple[Precision, ...] = ("int8", "fp32")


COLUMNS = (
    "encoded as",
    "levels",
    "probabilities",
    "boxes found again",
    "edges within a pixel",
    "furthest edge",
)

FOUND_AGAIN = 0.5
"""IoU from which a box counts as the same one, moved."""


@dataclass(frozen=True)
class Change:
    """How the answer to one encoding differs from that to the film itself."""

    probability: float
    """The largest difference of a probability."""
    found: float
    """Share of the film's boxes, of all diseases, that are found again."""
    still: float
    """Share of the edges of those that lie within a pixel."""
    furthest: float
    """The largest distance of such an edge, in pixels."""


def encodings() -> Iterator[tuple[str, list[bytes]]]:
    """The rows of the table: what they are called, and their files."""
    whole = [installed("RG1_J2KR.dcm")]
    whole += [encoded(syntax) for syntax in (*NATIVE, RLELossless, *ENCODERS) if fits(syntax)]
    yield "each lossless syntax", whole
    yield (
        "JPEG 2000, 10 : 1 (`RG1_J2KI`, `RG1_UNCI`)",
        [
            installed("RG1_J2KI.dcm"),
            installed("RG1_UNCI.dcm"),
        ],
    )
    for syntax in LOSSY:
        yield UID(syntax).name, [encoded(syntax)]


def fits(syntax: str) -> bool:
    """Whether a syntax keeps all of the film's bits."""
    return syntax not in LOSSY and DEPTHS.get(syntax, (8, 16))[1] >= BITS


def encoded(syntax: str) -> bytes:
    """The film in a transfer syntax, lossy ones as mild as they are in the tests."""
    dataset = pydicom.dcmread(BytesIO(installed(FILM)))
    bits = BITS if syntax not in LOSSY else DEPTHS.get(syntax, (8, 12))[1]
    dropped = BITS - bits
    values: NDArray[np.uint16] = dataset.pixel_array >> dropped
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    if dropped:
        dataset.RescaleSlope, dataset.RescaleIntercept = 2**dropped, 0
    if bits == 8:
        dataset.BitsAllocated = 8
        return in_syntax(dataset, values.astype(np.uint8), syntax)
    return in_syntax(dataset, values, syntax)


def change(before: Localization, after: Localization) -> Change:
    """Compare the answers to two encodings of one film."""
    twins = {finding.disease: finding for finding in after.findings}
    probabilities = [abs(f.probability - twins[f.disease].probability) for f in before.findings]
    pairs = [
        (box, max(twins[finding.disease].boxes, key=lambda other: overlap(box, other)))
        for finding in before.findings
        for box in finding.boxes
    ]
    same = [(corners(a), corners(b)) for a, b in pairs if overlap(a, b) >= FOUND_AGAIN]
    moved = np.abs(np.array([np.subtract(a, b) for a, b in same]))
    return Change(
        max(probabilities), len(same) / len(pairs), float((moved <= 1).mean()), float(moved.max())
    )


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    a, b = corners(one), corners(other)
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(across, 0) * max(down, 0)
    return shared / (one.width * one.height + other.width * other.height - shared)


def corners(box: Box) -> tuple[float, float, float, float]:
    """Left, top, right, bottom."""
    return box.x, box.y, box.x + box.width, box.y + box.height


def table() -> str:
    """Markdown: a row for each way to encode the film, and of its files what differs most."""
    film = Radiograph.read(installed(FILM))
    localizers = [
        Localizer(ModelBundle.load(shipped_bundle()), Compute("cpu", precision=precision))
        for precision in PRECISIONS
    ]
    lines = [f"| {' | '.join(COLUMNS)} |", f"|---|{'--:|' * (len(COLUMNS) - 1)}"]
    for name, files in encodings():
        others = [Radiograph.read(data) for data in files]
        levels = max(int(np.abs(o.pixels.astype(int) - film.pixels).max()) for o in others)
        by_precision = [_cells(localizer, film, others) for localizer in localizers]
        cells = [" / ".join(each) for each in zip(*by_precision, strict=True)]
        lines.append(f"| {' | '.join((name, str(levels), *cells))} |")
    return "\n".join(lines) + "\n"


def _cells(localizer: Localizer, film: Radiograph, others: list[Radiograph]) -> tuple[str, ...]:
    """The worst that a localizer makes of them, column by column."""
    first = localizer.localize(film)
    changes = [change(first, localizer.localize(other)) for other in others]
    return (
        f"{max(one.probability for one in changes):.4f}",
        f"{min(one.found for one in changes):.0%}",
        f"{min(one.still for one in changes):.0%}",
        f"{max(one.furthest for one in changes):.0f}",
    )
