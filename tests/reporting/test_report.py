"""Reports as a reader opens them: HTML by a parser, PDF by a reader of its own."""

import base64
import io
import os
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian
from pypdf import PdfReader

from localization import Compute, Doubt, Localizer, ModelBundle, Policy, Radiograph
from reporting import content, find_files, write_report

VOID = {"meta", "img", "br", "link", "input", "hr"}
DISCLAIMER = "For research. Not a medical device, not for clinical use."
SCRIPT = "<script>alert(1)</script>.png".replace("/", "\N{DIVISION SLASH}")


class Page(HTMLParser):
    """An HTML page whose every element is closed, in order."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(file.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += f"{data} "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def jpegs(self) -> list[bytes]:
        sources = [str(image["src"]) for image in self.all("img")]
        return [base64.b64decode(source.split(",", 1)[1]) for source in sources]

    @property
    def pictures(self) -> list[np.ndarray]:
        """The pictures as they are decoded."""
        return [np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in self.jpegs]


def pdf_text(file: Path) -> list[str]:
    """The words of each page, whatever lines they stand on."""
    return [" ".join(page.extract_text().split()) for page in PdfReader(file).pages]


def draw(file: Path, *, brightness: int = 180, width: int = 300, height: int = 200) -> Path:
    """A radiograph whose bright patch is, to the tiny bundle, the disease."""
    pixels = np.full((height, width), 45, np.uint8)  # Too bright for a border.
    pixels[height // 8 : height - height // 8, width // 4 : 3 * width // 4] = brightness
    file.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".png", pixels)
    file.write_bytes(encoded.tobytes())
    return file


def draw_dicom(file: Path) -> Path:
    dataset = Dataset()
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    dataset.Modality = "DX"
    dataset.PatientName, dataset.PatientID = "Mustermann^Erika", "4711-0815"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 64, 96, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = np.full((64, 96), 200, np.uint8).tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(file, enforce_file_format=True)
    return file


@pytest.fixture(scope="module")
def localizer(tiny_bundle: Path) -> Localizer:
    return Localizer(ModelBundle.load(tiny_bundle), Compute("cpu", threads=1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three radiographs, the last of them dark, and two files that are none."""
    folder = tmp_path / "ward"
    draw(folder / "a.png")
    draw(folder / "b" / "c.png")
    draw(folder / "b" / "d.png", brightness=1)
    (folder / "notes.txt").write_text("not an image")
    (folder / SCRIPT).write_bytes((folder / "a.png").read_bytes()[:200])
    return folder


def test_a_radiograph_is_a_page_of_its_findings_and_a_picture_of_each_positive_one(
    localizer: Localizer, tmp_path: Path
) -> None:
    file, report = draw(tmp_path / "a.png"), tmp_path / "report.html"
    assert write_report(report, [file], localizer) == []
    page = Page(report)
    # Of a third of full brightness, half of it is Cardiomegaly's; 0.2 is the operating point.
    assert page.text.count("positive ") >= 1
    assert len(page.all("tr")) == 1 + 14
    headings = [attributes for tag, attributes in page.tags if tag == "th"]
    assert {heading["scope"] for heading in headings} == {"col", "row"}
    for words in (
        str(file), "300 × 200 pixels", "PNG", "tiny 1", "fp32 on cpu", "Pleural Thickening",
        localizer.bundle.manifest.files["model.onnx"], DISCLAIMER,
    ):  # fmt: skip
        assert words in page.text
    localization = localizer.localize(Radiograph.read(file.read_bytes()))
    positive = [finding for finding in localization.findings if finding.positive]
    assert 0 < len(positive) < 14
    captions = ["As it was read", *(finding.disease for finding in positive)]
    plain, *drawn = page.pictures
    assert [picture.shape for picture in page.pictures] == [(200, 300, 3)] * len(captions)
    for caption in captions:
        assert caption in page.text
    # Gray as it was read, and coloured where heat and boxes lie over it.
    assert np.ptp(plain.astype(int), axis=2).max() < 10
    assert all(np.ptp(picture.astype(int), axis=2).max() > 100 for picture in drawn)
    alternatives = [str(image["alt"]) for image in page.all("img")]
    box = positive[0].boxes[0]
    assert f"{box.width:.0f} wide and {box.height:.0f} high" in alternatives[1]


def test_a_folder_is_an_index_then_the_refused_then_a_section_each(
    localizer: Localizer, folder: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    refused = write_report(report, find_files([folder]), localizer)
    page = Page(report)
    said = " ".join(page.text.split())
    assert "3 radiographs, 2 with a positive finding, 0 with a warning; 2 files refused." in said
    assert [file.name for file in refused] == [str(folder / SCRIPT), str(folder / "notes.txt")]
    for file in refused:
        assert file.reason in said
    links = [str(link["href"]) for link in page.all("a")]
    targets = [f"#{attributes['id']}" for tag, attributes in page.tags if tag == "h2"]
    assert links == ["#radiograph-1", "#radiograph-2", "#radiograph-3"]
    assert targets == ["#index", "#refused", *links]
    assert "No finding reaches its operating point." in said


def test_a_report_takes_nothing_from_anywhere_and_runs_nothing(
    localizer: Localizer, folder: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    write_report(report, find_files([folder]), localizer)
    page = Page(report)
    references = [
        str(attributes[name])
        for _, attributes in page.tags
        for name in ("src", "href", "srcset", "action", "data")
        if name in attributes
    ]
    assert references
    assert all(each.startswith(("data:image/jpeg;base64,", "#")) for each in references)
    source = report.read_text(encoding="utf-8")
    assert "http://" not in source
    assert "https://" not in source
    assert "url(" not in source
    assert not page.all("script")
    assert not page.all("link")
    assert SCRIPT in page.text
    [policy] = [str(meta["content"]) for meta in page.all("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'")


def test_a_pdf_says_the_same(localizer: Localizer, folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.pdf"
    write_report(report, find_files([folder]), localizer)
    first, *sheets = pdf_text(report)
    assert "3 radiographs, 2 with a positive finding, 0 with a warning; 2 files refused." in first
    assert "The file is not a PNG" in first
    assert len(sheets) == 3
    for file, text in zip(("a.png", "c.png", "d.png"), sheets, strict=True):
        assert file in text
        assert "Pleural Thickening" in text
        assert DISCLAIMER in text
    assert "No finding reaches its operating point." in sheets[2]
    reader = PdfReader(report)
    html = tmp_path / "report.html"
    write_report(html, find_files([folder]), localizer)
    pictures = [
        image.indirect_reference.get_object().get_data()
        for page in reader.pages
        for image in page.images
    ]
    # The very pictures of the HTML; the first two radiographs are alike, so theirs are, too.
    assert set(pictures) == set(Page(html).jpegs)
    assert len(pictures) == len(Page(html).jpegs)
    assert all(page.mediabox.width == pytest.approx(595.3, abs=0.5) for page in reader.pages)
    assert [item.title.rsplit("/", 1)[-1] for item in reader.outline if not isinstance(item, list)][
        -3:
    ] == ["a.png", "c.png", "d.png"]


@pytest.mark.parametrize("suffix", [".html", ".pdf"])
def test_a_warning_is_said_in_words(
    localizer: Localizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    doubt = Doubt("inverted", "The radiograph may be inverted; look at it.")
    real = Radiograph.read

    def doubtful(data: bytes, policy: Policy) -> Radiograph:
        pixels = real(data, policy=policy).pixels
        return Radiograph(pixels, "PNG", "patient right", "window 1/2", (doubt,))

    monkeypatch.setattr(Radiograph, "read", doubtful)
    report = tmp_path / f"report{suffix}"
    write_report(report, [draw(tmp_path / "a.png")], localizer)
    text = Page(report).text if suffix == ".html" else " ".join(pdf_text(report))
    for words in (doubt.sentence, "patient right", "window 1/2"):
        assert words in text


@pytest.mark.parametrize("suffix", [".html", ".pdf"])
def test_nothing_of_a_dicom_files_patient_is_in_it(
    localizer: Localizer, tmp_path: Path, suffix: str
) -> None:
    report = tmp_path / f"report{suffix}"
    assert write_report(report, [draw_dicom(tmp_path / "x.dcm")], localizer) == []
    text = Page(report).text if suffix == ".html" else " ".join(pdf_text(report))
    assert "DICOM" in text
    for secret in ("Mustermann", "Erika", "4711"):
        assert secret not in text
        assert secret.encode() not in report.read_bytes()


@pytest.mark.parametrize("suffix", [".html", ".pdf"])
@pytest.mark.parametrize(
    "name",
    [b"\xff\xfe.png", "胸部\N{RIGHT-TO-LEFT OVERRIDE}gnp.png".encode(), b"a\nb&amp;<b>{{1}}.png"],
)
def test_a_file_may_have_any_name(
    localizer: Localizer, tmp_path: Path, suffix: str, name: bytes
) -> None:
    file = draw(tmp_path / "drawn.png").rename(tmp_path / os.fsdecode(name))
    report = tmp_path / f"report{suffix}"
    assert write_report(report, [file, file], localizer) == []
    if suffix == ".html":
        assert content.printable(str(file)) in Page(report).text
    else:
        assert len(pdf_text(report)) == 3


@pytest.mark.parametrize("suffix", [".html", ".pdf"])
@pytest.mark.parametrize("size", [(64, 1200), (1200, 64)])
def test_a_radiograph_of_any_shape_stays_on_its_page(
    localizer: Localizer, tmp_path: Path, suffix: str, size: tuple[int, int]
) -> None:
    width, height = size
    report = tmp_path / f"report{suffix}"
    file = draw(tmp_path / "a.png", width=width, height=height)
    write_report(report, [file, file], localizer)
    if suffix == ".html":
        assert max(Page(report).pictures[0].shape) == content.LONGEST_SIDE
    else:
        assert len(pdf_text(report)) == 3


def test_the_findings_that_are_asked_for_are_the_ones_it_has(
    localizer: Localizer, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    write_report(report, [draw(tmp_path / "a.png")], localizer, ["Atelectasis", "Hernia"])
    page = Page(report)
    assert "Hernia" in page.text
    assert "Mass" not in page.text
    assert len(page.all("tr")) == 3
    assert len(page.all("img")) == 2


def test_memory_does_not_grow_with_the_pictures_of_an_html_report(
    localizer: Localizer, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 600), np.uint8)
    file, report = tmp_path / "a.png", tmp_path / "report.html"
    cv2.imwrite(str(file), noise)

    def peak(count: int) -> int:
        tracemalloc.reset_peak()
        write_report(report, [file] * count, localizer)
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        peak(1)
        few = peak(5)
        size = report.stat().st_size
        many = peak(20)
    finally:
        tracemalloc.stop()
    assert report.stat().st_size - size > 5_000_000
    assert many - few < 1_000_000


def test_a_report_that_cannot_be_completed_leaves_the_old_one(
    localizer: Localizer, tmp_path: Path
) -> None:
    report, file = tmp_path / "report.html", draw(tmp_path / "a.png")
    report.write_text("old")

    def files() -> object:
        yield file
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(report, files(), localizer)  # type: ignore[arg-type]
    assert report.read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.png", "report.html"]


def test_a_report_of_no_known_format_is_refused(localizer: Localizer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.html or \.pdf"):
        write_report(tmp_path / "report.docx", [], localizer)


def test_a_file_too_large_to_be_a_radiograph_is_not_read(
    localizer: Localizer, tmp_path: Path
) -> None:
    huge = tmp_path / "huge.bin"
    with huge.open("wb") as file:
        file.truncate(600 * 1024**2)  # takes no room on the disk
    [refused] = write_report(tmp_path / "report.html", [huge], localizer)
    assert "larger than" in refused.reason


def test_folders_and_patterns_stand_for_their_files_each_once_and_sorted(folder: Path) -> None:
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.png").touch()
    (folder / ".DS_Store").touch()
    os.mkfifo(folder / "pipe")
    inside = ["a.png", SCRIPT, "notes.txt", "b/c.png", "b/d.png"]
    everything = [folder / name for name in sorted(inside[:3]) + inside[3:]]
    assert find_files([folder]) == everything
    assert find_files([folder / "**" / "[cd].png"]) == [folder / "b/c.png", folder / "b/d.png"]
    assert find_files([folder / "b/d.png", folder / "b"]) == [
        folder / "b/d.png",
        folder / "b/c.png",
    ]
    assert find_files([folder / "*.jpg", folder / "no"]) == [folder / "*.jpg", folder / "no"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    file = draw(tmp_path / "a[1].png")
    draw(tmp_path / "a1.png")
    assert find_files([file]) == [file]
