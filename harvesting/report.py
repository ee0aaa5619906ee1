"""`report.html`: what a harvest gave, as one HTML file: no script, nothing from anywhere else."""

import base64
import shlex
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harvesting.contact_sheet import Frame, Read, frame, printable, spaced
from harvesting.dataset import Dataset
from harvesting.histogram import HEIGHT, WIDTH, Histogram, histogram
from harvesting.items import join
from harvesting.run import Run
from harvesting.storage import write_stream
from harvesting.tally import Best, Pick, Tally
from localization import DISEASES, Manifest

REPORT = "report.html"

DISCLAIMER = "For research. Not a medical device, not for clinical use."

SHOWN = 12
"""Pictures on a contact sheet."""

ENOUGH = 200
"""Radiographs from which a PSI is called drift: of fewer, chance alone may give as much."""

DRIFT, SOME_DRIFT = 0.25, 0.1

templates = Environment(
    loader=PackageLoader("harvesting"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
templates.filters["printable"] = printable
templates.filters["count"] = lambda number: f"{number:,}".replace(",", "\N{NO-BREAK SPACE}")


@dataclass(frozen=True, slots=True)
class Row:
    """One disease."""

    name: str
    labelled: int
    labelled_share: str
    positive: int
    positive_share: str
    mined: int
    boxes: int
    label_only: int
    model_only: int
    histogram: Histogram
    psi: str
    drift: str
    """`much`, `some` or nothing."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A contact sheet."""

    name: str
    title: str
    words: str
    frames: tuple[Frame, ...]
    nothing: str
    """What to say where it is empty."""


def write_report(dataset: Dataset, manifest: Manifest, read: Read) -> None:
    """Write `report.html` of a finished data set; it replaces the one before.

    Args:
        dataset: counted shard by shard, in memory that does not grow with it.
        manifest: of the model that mined it.
        read: gives the source's bytes for the contact sheets; see `contact_sheet.Read`.

    Raises:
        ValueError: ``manifest`` is another model's.
    """
    run = dataset.run
    if (manifest.name, manifest.version) != (run.model.name, run.model.version):
        raise ValueError(
            f"The data set was mined by {run.model.name} {run.model.version}, "
            f"not by {manifest.name} {manifest.version}."
        )
    tally = Tally.of(dataset, manifest.operating_points, SHOWN)
    page = templates.get_template("report.html").generate(
        style=Markup(templates.get_template("style.css").render()),
        disclaimer=DISCLAIMER,
        run=run,
        command=shlex.join(run.command),
        timings=_timings(run),
        rate=run.timings.get("radiographs_per_second"),
        tally=tally,
        rows=[_row(tally, manifest, index) for index in range(len(DISEASES))],
        failures=sorted(tally.failures.items(), key=lambda item: (-item[1].count, item[0])),
        reference=manifest.reference,
        enough=ENOUGH,
        sheets=_sheets(tally, read),
        chart=(WIDTH, HEIGHT),
    )
    write_stream(dataset.files, join(dataset.root, REPORT), (piece.encode() for piece in page))


def _row(tally: Tally, manifest: Manifest, index: int) -> Row:
    disease, reference = DISEASES[index], manifest.reference
    drawn = histogram(
        tally.buckets[index].tolist(),
        reference.diseases[disease] if reference else None,
        reference.radiographs if reference else 1,
        manifest.operating_points[disease],
    )
    return Row(
        spaced(disease),
        tally.labelled[disease],
        _share(tally.labelled[disease], tally.known[disease]),
        tally.positive[disease],
        _share(tally.positive[disease], tally.localized),
        tally.mined[disease],
        tally.mined_boxes[disease],
        tally.disputes[disease, "label-only"],
        tally.disputes[disease, "model-only"],
        drawn,
        "–" if drawn.psi is None else f"{drawn.psi:.2f}",
        _drift(drawn.psi, tally.localized),
    )


def _drift(psi: float | None, radiographs: int) -> str:
    if psi is None or radiographs < ENOUGH or psi < SOME_DRIFT:
        return ""
    return "much" if psi >= DRIFT else "some"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def _timings(run: Run) -> list[tuple[str, str]]:
    return [
        (name.replace("_", " "), f"{value:,.2f}".replace(",", "\N{NO-BREAK SPACE}"))
        for name, value in run.timings.items()
    ]


def _sheets(tally: Tally, read: Read) -> list[Sheet]:
    def sheet(name: str, title: str, words: str, picks: Best[Pick], nothing: str) -> Sheet:
        return Sheet(name, title, words, tuple(frame(pick, read) for pick in picks), nothing)

    mined = "No finding was mined."
    return [
        sheet(
            "most-certain",
            "Most certain",
            "Mined findings farthest above their operating points, in log-odds.",
            tally.most_certain,
            mined,
        ),
        sheet(
            "least-certain",
            "Least certain",
            "Mined findings nearest to their operating points, above or below.",
            tally.least_certain,
            mined,
        ),
        sheet(
            "most-disputed",
            "Most disputed",
            "Labels and model say the opposite, and the probability is farthest from the "
            "operating point.",
            tally.most_disputed,
            "Labels and model nowhere disagree."
            if tally.with_labels
            else "No labels were given, so there is nothing to disagree with.",
        ),
    ]
