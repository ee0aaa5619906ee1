"""What becomes of every DICOM file that comes with pydicom and pydicom-data.

`scripts/dicom-table` writes it into docs/dicom.md, and a test sees that it still holds; it writes
the table of encodings, too.
"""

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import data_store
import encoding_survey
import pydicom.data

from localization import (
    Compute,
    Localizer,
    ModelBundle,
    Radiograph,
    RadiographRefused,
    shipped_bundle,
)


def files() -> dict[str, Path]:
    """The files by name, as far as they are installed; the network is not asked."""
    # By the folders: pydicom's own lists add whatever its cache has downloaded.
    own, more = Path(pydicom.data.__file__).parent, Path(data_store.__file__).parent / "data"
    roots = {
        "test_files": own / "test_files",
        "charset_files": own / "charset_files",
        "pydicom-data": more,
    }
    named = {
        f"{label}/{path.relative_to(root).as_posix()}": path
        for label, root in roots.items()
        for path in root.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    return {name: named[name] for name in sorted(named)}


def outcomes() -> Iterator[tuple[str, str, float]]:
    """Each file's name, what became of it, and the seconds that it took.

    What became of it is `localized`, with the codes of its warnings, or the reason of its refusal.
    """
    localizer = Localizer(ModelBundle.load(shipped_bundle()), Compute("cpu"))
    for name, path in files().items():
        data = path.read_bytes()
        start = time.perf_counter()
        yield name, _outcome(localizer, data), time.perf_counter() - start


def _outcome(localizer: Localizer, data: bytes) -> str:
    try:
        radiograph = Radiograph.read(data)
        localizer.localize(radiograph)
    except RadiographRefused as refused:
        return refused.reason
    return ", ".join(["localized", *(doubt.code for doubt in radiograph.doubts)])


def table(found: dict[str, str]) -> str:
    """Markdown: files by what became of them; of a folder that shares one outcome, its name."""
    groups: dict[str, list[str]] = {}
    for name, outcome in found.items():
        groups.setdefault(outcome, []).append(name)
    lines = ["| outcome | files | |", "|---|--:|---|"]
    for outcome in sorted(groups, key=lambda one: (not one.startswith("localized"), one)):
        names = ", ".join(_folded(groups[outcome]))
        lines.append(f"| {outcome} | {len(groups[outcome])} | {names} |")
    versions = ", ".join(f"{name} {version(name)}" for name in ("pydicom", "pydicom-data"))
    return "\n".join([f"{len(found)} files ({versions}):", "", *lines]) + "\n"


def _folded(names: list[str]) -> Iterator[str]:
    """Names, those in folders below `dicomdirtests` as one each."""
    folded = Counter("/".join(name.split("/")[:3]) for name in names)
    for name, count in folded.items():
        yield f"`{name}`" if name in names else f"`{name}/` ({count})"


def peak_bytes() -> int:
    """The most memory that this process has held; `ru_maxrss` would hold its parent's, too."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def main(document: Path) -> None:
    """Write both tables into a document, between their markers."""
    found = {name: outcome for name, outcome, _ in outcomes()}
    text = document.read_text()
    for name, made in (("table", table(found)), ("encodings", encoding_survey.table())):
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
        text = f"{text.split(begin)[0]}{begin}{made}{end}{text.split(end)[1]}"
    document.write_text(text)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        print(json.dumps({"files": list(outcomes()), "peak": peak_bytes()}))
