"""Image labels from a table: which diseases are said of which radiograph.

Two forms, told apart by their header: ChestX-ray14's `Data_Entry_2017` (`Image Index`,
`Finding Labels`), and a column of paths or names (`path`, else the first) with a column of 0 and 1
for each disease, blank or -1 where nothing is known.
"""

import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import fsspec

from harvesting.items import SUFFIXES, suffix_of
from harvesting.table import csv_lines
from localization import DISEASES

NO_FINDING = "No Finding"

OTHER_NAMES = {"pleuraleffusion": "Effusion", "infiltrate": "Infiltration"}
"""Of CheXpert and of ChestX-ray14's own list of boxes."""

POSITIVE, NOT_POSITIVE = ("1", "1.0"), ("0", "0.0", "", "-1", "-1.0")


class LabelsRefused(ValueError):
    """A table of labels that cannot be read as one; the message names the line."""


class _Line(NamedTuple):
    parts: tuple[str, ...]
    """Of the path."""
    diseases: tuple[str, ...]


@dataclass(frozen=True)
class Labels:
    """What a table says, by the radiographs' names."""

    sha256: str
    """Of the table."""
    unused: tuple[str, ...]
    """Columns that name no disease of the model."""
    _by_stem: dict[str, list[_Line]]

    def __len__(self) -> int:
        return sum(map(len, self._by_stem.values()))

    def of(self, path: str) -> tuple[str, ...] | None:
        """The diseases of a radiograph, in the order of `DISEASES`; None where no line names it.

        A line names it where its path is the end of the radiograph's, or the other way round; the
        suffix may differ where no line has the same.

        Raises:
            LabelsRefused: lines that name it say different things.
        """
        parts = tuple(path.split("/"))
        lines = [
            line
            for line in self._by_stem.get(_stem(parts[-1]), ())
            if _is_end(line.parts[:-1], parts[:-1])
        ]
        lines = [line for line in lines if line.parts[-1] == parts[-1]] or lines
        found = {line.diseases for line in lines}
        if len(found) > 1:
            raise LabelsRefused(f"Lines of the labels that name {path} say different things.")
        return found.pop() if found else None


def read_labels(url: str) -> Labels:
    """Read a table of labels.

    Raises:
        LabelsRefused: it has neither form, or names a disease that there is not.
        TableRefused: it is no CSV.
        FileNotFoundError: it is not there.
    """
    with fsspec.open(url, "rb") as file:
        content = file.read()
    lines = csv_lines(io.BytesIO(content), url)
    header = [name.strip() for name in next(lines, [])]
    name, diseases, unused = _form(header, url)
    by_stem: dict[str, list[_Line]] = defaultdict(list)
    for number, line in enumerate(lines, start=2):
        if any(cell.strip() for cell in line):
            if len(line) < len(header):
                raise LabelsRefused(f"{url}, line {number}: fewer columns than the header.")
            try:
                parts = tuple(line[name].strip().removeprefix("./").split("/"))
                by_stem[_stem(parts[-1])].append(_Line(parts, diseases(line)))
            except ValueError as error:
                raise LabelsRefused(f"{url}, line {number}: {error}") from None
    return Labels(hashlib.sha256(content).hexdigest(), unused, dict(by_stem))


_Diseases = Callable[[Sequence[str]], tuple[str, ...]]


def _form(header: Sequence[str], url: str) -> tuple[int, _Diseases, tuple[str, ...]]:
    """The column of names, what reads a line's diseases, and the columns not used."""
    if "Image Index" in header and "Finding Labels" in header:
        column = header.index("Finding Labels")
        return header.index("Image Index"), lambda line: _joined(line[column]), ()
    lower = [name.lower() for name in header]
    name = lower.index("path") if "path" in lower else 0
    columns = {k: _disease(head) for k, head in enumerate(header) if k != name}
    known = {k: disease for k, disease in columns.items() if disease is not None}
    if not known:
        raise LabelsRefused(
            f"{url} has neither the columns `Image Index` and `Finding Labels` nor one named as a "
            f"disease: {', '.join(DISEASES)}."
        )
    unused = (header[k] for k, disease in columns.items() if disease is None)
    return name, lambda line: _ordered(_positive(line, known)), tuple(unused)


def _joined(cell: str) -> tuple[str, ...]:
    """The diseases of a cell such as `Mass|Nodule`."""
    found = set()
    for label in (part.strip() for part in cell.split("|")):
        if label == NO_FINDING:
            continue
        disease = _disease(label)
        if disease is None:
            raise ValueError(f"the label {label!r} is none of {', '.join(DISEASES)}.")
        found.add(disease)
    return _ordered(found)


def _positive(line: Sequence[str], columns: dict[int, str]) -> Iterator[str]:
    for k, disease in columns.items():
        value = line[k].strip()
        if value in POSITIVE:
            yield disease
        elif value not in NOT_POSITIVE:
            raise ValueError(f"{disease} is {value!r}, which is none of 1, 0, -1 and blank.")


def _disease(label: str) -> str | None:
    """The disease that a label names, however it writes blanks and capitals."""
    plain = _plain(label)
    return OTHER_NAMES.get(plain) or next((d for d in DISEASES if _plain(d) == plain), None)


def _plain(label: str) -> str:
    return "".join(letter for letter in label.lower() if letter.isalnum())


def _ordered(diseases: Iterator[str] | set[str]) -> tuple[str, ...]:
    found = set(diseases)
    return tuple(disease for disease in DISEASES if disease in found)


def _stem(name: str) -> str:
    """A name without a radiograph's suffix; a UID's last number is none."""
    suffix = suffix_of(name)
    return name[: -len(suffix)] if suffix in SUFFIXES else name


def _is_end(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one path is the end of the other."""
    length = min(len(one), len(other))
    return length == 0 or one[-length:] == other[-length:]
