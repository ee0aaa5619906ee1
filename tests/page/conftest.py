"""A page of the real service, and the faults that no test of it may leave behind."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import page_helpers
import pytest
from playwright.sync_api import Browser, Page

from localization import Radiograph, to_picture

WATCH = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.effectiveDirective} ${event.blockedURI}`));

// The browser's own log drops an answer of this size before a test can read it.
window.answers = [];
const { send } = XMLHttpRequest.prototype;
XMLHttpRequest.prototype.send = function (body) {
  this.addEventListener("load", () => window.answers.push(this.responseText));
  send.call(this, body);
};
"""


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    with page_helpers.service(CXR_WORKERS="2") as url:
        yield url


# Playwright occupies the thread's event loop: no longer than for these tests.
@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with page_helpers.browser() as chrome:
        yield chrome


@pytest.fixture
def open_page(chrome: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """Opens the page in a browser of given options; `page.faults` is what the console said.

    Afterwards, no other host may have been asked, and nothing forbidden or broken been tried.
    """
    contexts, requests, faults = [], [], []

    def open_one(**options: Any) -> Page:
        context = chrome.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        context.add_init_script(WATCH)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.faults = faults
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert requests
    assert [each for each in requests if not each.startswith((f"{url}/", "data:", "blob:"))] == []
    # What the service answers with an error is logged by the browser, and is no fault.
    assert [each for each in faults if "Failed to load resource" not in each] == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()


@pytest.fixture(scope="session")
def dicom() -> Path:
    return page_helpers.public_radiograph()


@pytest.fixture(scope="session")
def png(dicom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same radiograph as a PNG of at most 1024 pixels."""
    path = tmp_path_factory.mktemp("png") / "chest.png"
    cv2.imwrite(str(path), to_picture(Radiograph.read(dicom.read_bytes()).pixels))
    return path


@pytest.fixture(scope="session")
def broken(dicom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("broken") / "broken.dcm"
    path.write_bytes(dicom.read_bytes()[:500_000])
    return path
