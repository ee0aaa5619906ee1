"""Image labels from a table: which diseases are said of which radiograph.

Two forms, told apart by their header: ChestX-ray14's `Data_Entry_2017` (`Image Index`,
`Finding Labels`), which speaks of every disease, and a column of paths or names (`path`, else the
first) with a column of 0 and 1 for each disease, blank or -1 where nothing is known.
"""

import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import fsspec

from harvesting.items import SUFFIXES, Item, suffix_of
from harvesting.remote import named_errors
from harvesting.table import csv_lines
from localization import DISEASES

NO_FINDING = "No Finding"

OTHER_NAMES = {"pleuraleffusion": "Effusion", "infiltrate": "Infiltration"}
"""Of CheXpert and of ChestX-ray14's own list of boxes."""

POSITIVE, NEGATIVE, UNKNOWN = ("1", "1.0"), ("0", "0.0"), ("", "-1", "-1.0")


class LabelsRefused(ValueError):
    """A table of labels that cannot be read as one; the message names the line."""


class Statement(NamedTuple):
    """What a line says of each disease: yes, no, or neither."""

    labels: tuple[str, ...]
    """The diseases that it says are there, in the order of `DISEASES`."""
    unknown: tuple[str, ...]
    """Those that it leaves open. Of all others it says that they are not there."""


class _Line(NamedTuple):
    parts: tuple[str, ...]
    """Of the path."""
    statement: Statement


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

    def label(self, item: Item) -> Item:
        """An item with what its line says, where there is one. Raises as `of` does."""
        said = self.of(item.path)
        return item if said is None else replace(item, labels=said.labels, unknown=said.unknown)

    def of(self, path: str) -> Statement | None:
        """What is said of a radiograph; None where no line names it.

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
        found = {line.statement for line in lines}
        if len(found) > 1:
            raise LabelsRefused(f"Lines of the labels that name {path} say different things.")
        return found.pop() if found else None


def read_labels(url: str) -> Labels:
    """Read a table of labels.

    Raises:
        LabelsRefused: it has neither form, or names a disease that there is not.
        TableRefused: it is no CSV.
        FileNotFoundError: it is not there.
        OSError: its storage does not give it.
    """
    with named_errors(url), fsspec.open(url, "rb") as file:
        content = file.read()
    lines = csv_lines(io.BytesIO(content), url)
    header = [name.strip() for name in next(lines, [])]
    name, read, unused = _form(header, url)
    # Many lines say the same.
    statements: dict[Statement, Statement] = {}
    by_stem: dict[str, list[_Line]] = defaultdict(list)
    for number, line in enumerate(lines, start=2):
        if any(cell.strip() for cell in line):
            if len(line) < len(header):
                raise LabelsRefused(f"{url}, line {number}: fewer columns than the header.")
            try:
                parts = tuple(line[name].strip().removeprefix("./").split("/"))
                said = read(line)
                by_stem[_stem(parts[-1])].append(_Line(parts, statements.setdefault(said, said)))
            except ValueError as error:
                raise LabelsRefused(f"{url}, line {number}: {error}") from None
    return Labels(hashlib.sha256(content).hexdigest(), unused, dict(by_stem))


_Reads = Callable[[Sequence[str]], Statement]


def _form(header: Sequence[str], url: str) -> tuple[int, _Reads, tuple[str, ...]]:
    """The column of names, what reads a line's statement, and the columns not used."""
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
    return name, lambda line: _stated(line, known), tuple(unused)


def _joined(cell: str) -> Statement:
    """Of a cell such as `Mass|Nodule`, which leaves nothing open."""
    found = set()
    for label in (part.strip() for part in cell.split("|")):
        if label == NO_FINDING:
            continue
        disease = _disease(label)
        if disease is None:
            raise ValueError(f"the label {label!r} is none of {', '.join(DISEASES)}.")
        found.add(disease)
    return Statement(_ordered(found), ())


def _stated(line: Sequence[str], columns: dict[int, str]) -> Statement:
    """Of cells of 1, 0, -1 and blank; a disease without a column is left open."""
    positive, negative = set(), set()
    for k, disease in columns.items():
        value = line[k].strip()
        if value in POSITIVE:
            positive.add(disease)
        elif value in NEGATIVE:
            negative.add(disease)
        elif value not in UNKNOWN:
            raise ValueError(f"{disease} is {value!r}, which is none of 1, 0, -1 and blank.")
    return Statement(_ordered(positive), _ordered(set(DISEASES) - positive - negative))


def _disease(label: str) -> str | None:
    """The disease that a label names, however it writes blanks and capitals."""
    plain = _plain(label)
    return OTHER_NAMES.get(plain) or next((d for d in DISEASES if _plain(d) == plain), None)


def _plain(label: str) -> str:
    return "".join(letter for letter in label.lower() if letter.isalnum())


def _ordered(diseases: set[str]) -> tuple[str, ...]:
    return tuple(disease for disease in DISEASES if disease in diseases)


def _stem(name: str) -> str:
    """A name without a radiograph's suffix; a UID's last number is none."""
    suffix = suffix_of(name)
    return name[: -len(suffix)] if suffix in SUFFIXES else name


def _is_end(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one path is the end of the other."""
    length = min(len(one), len(other))
    return length == 0 or one[-length:] == other[-length:]
