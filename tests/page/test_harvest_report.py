"""The report of a harvest in a real browser."""

from collections.abc import Callable
from pathlib import Path

import page_helpers
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from harvesting.dataset import Dataset
from harvesting.report import write_report
from harvesting.rows import DisagreementRow, FindingRow, RadiographRow, Rows, encode_heatmap
from localization import (
    DISEASES,
    Compute,
    Localizer,
    Manifest,
    ModelBundle,
    Radiograph,
    shipped_bundle,
)


@pytest.fixture
def report(write_dataset: Callable[..., Path]) -> Path:
    """Of one radiograph in open mode, one source that is gone, and one failure."""
    bundle = ModelBundle.load(shipped_bundle())
    source = page_helpers.public_radiograph().read_bytes()
    folder = write_dataset([_rows(Localizer(bundle, Compute("cpu")), source)], mode="open")

    def read(path: str) -> bytes:
        if path == "gone.dcm":
            raise FileNotFoundError(path)
        return source

    write_report(Dataset.open(str(folder)), _named(bundle.manifest), read)
    return folder / "report.html"


def _named(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"name": "tiny", "version": "1.0.0"})


def _rows(localizer: Localizer, source: bytes) -> Rows:
    radiograph = Radiograph.read(source)
    found = {each.disease: each for each in localizer.localize(radiograph).findings}
    paths = ("here.dcm", "gone.dcm")
    return Rows(
        (
            *(
                RadiographRow(
                    path,
                    "localized",
                    format="DICOM",
                    width=radiograph.width,
                    height=radiograph.height,
                    field=radiograph.field,
                    typicality=0.5,
                    labels=("Hernia",),
                    probabilities=tuple(found[disease].probability for disease in DISEASES),
                )
                for path in paths
            ),
            RadiographRow("broken.dcm", "failed", "truncated", "The file ends too early."),
        ),
        tuple(
            FindingRow(
                path,
                each.disease,
                each.probability,
                each.threshold,
                False,
                each.boxes,
                encode_heatmap(each),
            )
            for path in paths
            for each in found.values()
            if each.positive
        ),
        (DisagreementRow("here.dcm", "Hernia", 0.0001, 0.01, "label-only"),),
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_can_be_read_by_all_and_asks_nothing_of_any_host(
    theme: str, width: int, chrome: Browser, report: Path
) -> None:
    requests, faults = [], []
    size = {"width": width, "height": 900}
    with chrome.new_context(viewport=size, color_scheme=theme) as context:
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda line: faults.append(line.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(report.as_uri())
        drawn = page.evaluate("[...document.images].map((image) => image.naturalWidth)")
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        violations = Axe().run(page).response["violations"]
    assert len(drawn) >= 3
    assert min(drawn) > 0
    assert overflow <= 0
    assert [
        (each["id"], [node["html"][:120] for node in each["nodes"]]) for each in violations
    ] == []
    # The picture is in the page itself, and the policy forbids nothing that the page tries.
    assert [each for each in requests if not each.startswith("data:")] == [report.as_uri()]
    assert faults == []
