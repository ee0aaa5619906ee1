"""report.html as a reader opens it."""

import base64
import io
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import made_up_rows as rows
import numpy as np
import pytest
from PIL import Image

from harvesting.dataset import Dataset
from harvesting.report import write_report
from harvesting.rows import Rows
from harvesting.run import RUN
from localization import DISEASES, Manifest, ModelBundle
from localization.reference import Bins, Reference

VOID = {"meta", "img", "br"}
SVG_VOID = {"rect", "line", "polyline"}
SCRIPT = '"><script>alert(1)</script>\N{RIGHT-TO-LEFT OVERRIDE}.png'

REFERENCE = Reference(
    data="validation part",
    radiographs=1000,
    rule="quarters",
    diseases={
        disease: Bins(bounds=(0.01, 0.1, 0.2, 1.0), shares=(0.25, 0.25, 0.25, 0.25))
        for disease in DISEASES
    },
)


class Page(HTMLParser):
    """An HTML page whose every element is closed, in order; the words of each section."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {}
        self.section = ""
        self.feed(file.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag == "section":
            self.section = str(dict(attributes)["aria-labelledby"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and "title" not in self.open:
            said = f"{self.sections.get(self.section, '')} {data}"
            self.sections[self.section] = " ".join(said.split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def pictures(self) -> list[np.ndarray]:
        sources = [str(image["src"]).split(",", 1)[1] for image in self.all("img")]
        return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))) for each in sources]


@pytest.fixture(scope="module")
def manifest(tiny_bundle: Path) -> Manifest:
    """Of the model that `write_dataset` names."""
    changes = {"version": "1.0.0", "reference": REFERENCE}
    changes["operating_points"] = dict.fromkeys(DISEASES, rows.THRESHOLD)
    return ModelBundle.load(tiny_bundle).manifest.model_copy(update=changes)


@pytest.fixture
def report(write_dataset: Callable[..., Path], manifest: Manifest) -> Callable[..., Page]:
    """Writes a data set and its report: `report([shard, ...], read, manifest, mode=...)`."""

    def write_it(
        shards: list[Rows],
        read: Callable[[str], bytes] = lambda path: rows.picture(),
        model: Manifest = manifest,
        **options: str,
    ) -> Page:
        folder = write_dataset(shards, **options)
        write_report(Dataset.open(str(folder)), model, read)
        return Page(folder / "report.html")

    return write_it


def mixed() -> list[Rows]:
    """Two labelled radiographs, one without labels, two failures of one reason and one of another;
    two findings and one of each dispute."""
    return [
        Rows(
            (
                rows.radiograph("a.png", ("Mass",), 0.5),
                rows.failure("b.png"),
                rows.failure("c.png"),
                rows.radiograph("d.png", ("Mass", "Edema"), 0.05),
            ),
            (rows.finding("a.png", "Mass", 0.9), rows.finding("d.png", "Mass", 0.05)),
            (rows.dispute("a.png", "Hernia", 0.5), rows.dispute("d.png", "Mass", 0.05)),
        ),
        Rows(
            (rows.radiograph("e.png", None, 0.005), rows.failure("f.txt", "unsupported-format")),
            (),
            (),
        ),
    ]


def test_the_share_of_a_label_is_of_those_whose_labels_speak_of_the_disease(
    report: Callable[..., Page],
) -> None:
    said = [rows.radiograph("a.png", ("Mass",)), rows.radiograph("b.png", ())]
    silent = [replace(rows.radiograph(f"{k}.png", ()), unknown=("Mass",)) for k in range(2)]
    page = report([Rows((*said, *silent), (), ())])
    assert "Mass 1 50.0%" in page.sections["diseases"]


def test_it_says_every_number_of_the_run(report: Callable[..., Page]) -> None:
    page = report(mixed())
    assert page.sections["counts"] == (
        "Counts Files 6 Localized 3 Failed 3 Findings mined 2 Boxes 4 Disagreements 2 "
        "Radiographs per second 6.0 Labelled mode: mined are the diseases that an image's labels "
        "name, whatever their probability. Boxes were found by a model that learned from image "
        "labels alone; no person drew or checked them."
    )
    # Labelled, of two with labels; positive, of three; mined and their boxes.
    diseases = page.sections["diseases"]
    assert "Mass 2 100.0% 1 33.3% 2 4" in diseases
    assert "Edema 1 50.0% 1 33.3% 0 0" in diseases
    assert "Pleural Thickening 0 0.0% 1 33.3% 0 0" in diseases
    assert "truncated 2 b.png The file ends too early." in page.sections["failures"]
    assert "unsupported-format 1 f.txt" in page.sections["failures"]
    assert "Mass 1 0" in page.sections["disagreements"]
    assert "Hernia 0 1" in page.sections["disagreements"]
    run = page.sections["run"]
    for words in (
        "tiny 1.0.0", "fp32", "labelled", "Shards 2", "PNG 3", "Seconds 1.00", "0" * 64,
        "Radiographs per second 6.00", "cxr-localizer harvest archive",
    ):  # fmt: skip
        assert words in run
    assert all("not for clinical use" in page.sections[each] for each in ("", "run"))


def test_probabilities_are_drawn_and_measured_against_the_reference(
    report: Callable[..., Page],
) -> None:
    """Thirds in the first, second and fourth bin, where the reference has quarters."""
    page = report(mixed())
    a, e = np.array([1 / 3, 1 / 3, 1e-4, 1 / 3]), np.full(4, 0.25)
    psi = float(((a - e) * np.log(a / e)).sum())
    assert page.sections["diseases"].count(f"{psi:.2f}") >= len(DISEASES)
    drawings = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert [svg["aria-label"] for svg in drawings] == [
        f"{disease.replace('_', ' ')}: 0 to 0.01: 33.3%; 0.01 to 0.1: 33.3%; 0.1 to 0.2: 0.0%; "
        "0.2 to 1: 33.3%"
        for disease in DISEASES
    ]
    bars = [rect for rect in page.all("rect") if rect.get("class") == "bar"]
    assert [bar["height"] for bar in bars[:4]] == ["44.0", "44.0", "0.0", "44.0"]
    assert len(page.all("polyline")) == len(DISEASES)
    # In the last of four bins, and the logarithms say how far in it.
    points = [line for line in page.all("line") if line.get("class") == "point"]
    assert points[0]["x1"] == f"{200 * (3 + np.log(0.25 / 0.2) / np.log(1 / 0.2)) / 4:.1f}"
    # Of three radiographs nothing is called drift, and what chance gives is said.
    assert f"about {3 * (1 / 3 + 1 / 1000):.2f} is to be expected" in page.sections["diseases"]
    assert all(span.get("class") != "psi much" for span in page.all("span"))


def test_of_enough_radiographs_much_of_a_drift_is_marked(report: Callable[..., Page]) -> None:
    many = Rows(tuple(rows.radiograph(f"{k}.png") for k in range(200)), (), ())
    page = report([many])
    assert sum(span.get("class") == "psi much" for span in page.all("span")) == len(DISEASES)
    assert "by chance" not in page.sections["diseases"]


def test_a_model_without_a_reference_has_its_probabilities_drawn_alone(
    report: Callable[..., Page], manifest: Manifest
) -> None:
    page = report(mixed(), model=manifest.model_copy(update={"reference": None}))
    assert "this model has no reference" in page.sections["diseases"]
    assert page.all("polyline") == []
    label = str(page.all("svg")[0]["aria-label"])
    for bar in ("0.00501: 33.3%", "0.0501: 33.3%", "0.501: 33.3%"):
        assert bar in label


def test_contact_sheets_show_the_most_telling_findings(report: Callable[..., Page]) -> None:
    probabilities = {f"{k:02}.png": 0.26 + k / 30 for k in range(20)}
    shards = [
        Rows(
            (rows.radiograph(path),),
            (rows.finding(path, "Mass", value),),
            (rows.dispute(path, "Hernia", value),),
        )
        for path, value in probabilities.items()
    ]
    page = report(shards)
    ordered = list(probabilities)
    for section, expected in (
        ("most-certain", ordered[:-13:-1]),
        ("least-certain", ordered[:12]),
        ("most-disputed", ordered[:-13:-1]),
    ):
        said = page.sections[section].split()
        assert [word for word in said if word.endswith(".png")] == expected
    assert "Mass 0.893 / 0.250 labelled 19.png" in page.sections["most-certain"]
    assert "not labelled, the model sees it; not mined" in page.sections["most-disputed"]
    assert [picture.shape for picture in page.pictures] == [(171, 256, 3)] * 36
    # Coloured where there is a heat map; a dispute about what was not mined has none.
    colours = [int(np.ptp(picture.astype(int), axis=2).max()) for picture in page.pictures]
    assert min(colours[:24]) > 60
    assert max(colours[24:]) < 10


@pytest.mark.parametrize(
    ("read", "words"),
    [
        ("gone", "The source is not there any more."),
        ("smaller", "The source has changed since the harvest."),
        ("text", "The source has changed since the harvest."),
    ],
)
def test_what_cannot_be_drawn_is_shown_without_its_picture(
    read: str, words: str, report: Callable[..., Page]
) -> None:
    def reader(path: str) -> bytes:
        if path == "a.png":
            return rows.picture()
        if read == "gone":
            raise FileNotFoundError(path)
        return rows.picture(60, 60) if read == "smaller" else b"notes"

    page = report(mixed(), reader)
    # Of a.png: most and least certain, and disputed.
    assert len(page.pictures) == 3
    for section in ("most-certain", "least-certain", "most-disputed"):
        assert words in page.sections[section]
        assert "d.png" in page.sections[section]


def test_it_asks_nothing_of_any_other_host(report: Callable[..., Page]) -> None:
    page = report(mixed())
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "base"} == set()
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "xlink:href", "action"):
            assert str(attributes.get(name, "data:")).startswith("data:")
        assert not any(name.startswith("on") for name in attributes)
    policy = next(meta for meta in page.all("meta") if "http-equiv" in meta)
    assert policy["content"] == ("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


def test_hostile_names_are_words(report: Callable[..., Page]) -> None:
    page = report(
        [
            Rows(
                (rows.radiograph(SCRIPT), rows.failure(f"broken{SCRIPT}")),
                (rows.finding(SCRIPT),),
                (rows.dispute(SCRIPT, "Edema", 0.9),),
            )
        ],
        source=SCRIPT,
    )
    assert page.all("script") == []
    shown = SCRIPT.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "\N{REPLACEMENT CHARACTER}")
    for section in ("", "most-certain", "most-disputed", "failures", "run"):
        assert shown in page.sections[section]
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in "".join(page.sections.values())


def test_a_run_without_findings_labels_or_timings(
    report: Callable[..., Page], write_dataset: Callable[..., Path], manifest: Manifest
) -> None:
    folder = write_dataset([Rows((rows.radiograph("a.png", None),), (), ())], mode="open")
    run = Dataset.open(str(folder)).run.model_copy(update={"timings": {}})
    (folder / RUN).write_text(run.model_dump_json())
    write_report(Dataset.open(str(folder)), manifest, lambda path: rows.picture())
    page = Page(folder / "report.html")
    assert "Open mode" in page.sections["counts"]
    assert "per second" not in page.sections["counts"]
    assert "Labelled" not in page.sections["diseases"]
    assert "No finding was mined." in page.sections["most-certain"]
    assert "No labels were given" in page.sections["most-disputed"]
    assert "Every file was localized." in page.sections["failures"]


def test_a_run_in_which_all_failed(report: Callable[..., Page]) -> None:
    page = report([Rows((rows.failure("a.png"), rows.failure("b.png")), (), ())])
    assert "Localized 0 Failed 2" in page.sections["counts"]
    assert "Mass 0 – 0 0" in page.sections["diseases"]
    assert "truncated 2" in page.sections["failures"]
    assert page.pictures == []


def test_another_models_manifest_is_refused(
    write_dataset: Callable[..., Path], manifest: Manifest
) -> None:
    folder = write_dataset(mixed())
    other = manifest.model_copy(update={"version": "2.0.0"})
    with pytest.raises(ValueError, match=r"by tiny 1\.0\.0, not by tiny 2\.0\.0"):
        write_report(Dataset.open(str(folder)), other, lambda path: rows.picture())
    assert not (folder / "report.html").exists()


def test_memory_does_not_grow_with_the_shards(
    write_dataset: Callable[..., Path], manifest: Manifest
) -> None:
    def peak(shards: int) -> int:
        folder = write_dataset([rows.shard(k, 300) for k in range(shards)])
        dataset = Dataset.open(str(folder))
        tracemalloc.start()
        try:
            write_report(dataset, manifest, lambda path: rows.picture())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # What is loaded once does not count.
    assert peak(16) < 1.5 * peak(2)
