"""The real service with the shipped bundle, and a browser that looks at its page."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, Route, sync_playwright

ROOT = Path(__file__).parents[2]
SERVE = "from service.server import serve; from service.settings import Settings; serve(Settings())"
STARTING_SECONDS = 60.0
INTERCEPTING_SECONDS = 15.0

ARGUMENTS = [
    "--no-sandbox",  # which needs rights that a container seldom has; it shows this page alone
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str:
    """The browser's path: `CHROMIUM`, else the one that the system has."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None or not Path(path).exists():
        raise FileNotFoundError(
            "The tests of the page need Chromium: install it (Debian: apt-get install chromium), "
            "or name one that is there: CHROMIUM=/path/to/chromium."
        )
    return path


def public_radiograph() -> Path:
    """A radiograph of the package pydicom-data, which has it on the disk."""
    spec = importlib.util.find_spec("data_store")
    assert spec is not None, "pydicom-data is not installed"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "data" / "RG1_UNCR.dcm"


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    path = chromium()
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, timeout=60_000)
        try:
            yield chrome
        finally:
            chrome.close()


def intercept(page: Page, pattern: str, handle: Callable[[Route], None]) -> None:
    """`page.route`, which holds for every request made after this returns.

    Chromium answers that it intercepts before a page that is open already does: one request here
    is waited for until it is seen. Its route stays, so that interception is never turned off.
    """
    probe = "?intercepted"
    page.route(f"**/*{probe}", lambda route: route.fulfill(body=probe))
    # Not `wait_for_function`, which takes a promise for a yes.
    give_up = time.monotonic() + INTERCEPTING_SECONDS
    while page.evaluate("(probe) => fetch(probe).then((answer) => answer.text())", probe) != probe:
        assert time.monotonic() < give_up, "The browser does not intercept requests."
    page.route(pattern, handle)


@contextlib.contextmanager
def service(**settings: str) -> Iterator[str]:
    """The URL of a service with the shipped bundle, which is ended afterwards."""
    environment = {"PATH": os.environ["PATH"], "CXR_PORT": "0", "CXR_PROVIDER": "cpu", **settings}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _address(process, Path(f"/proc/self/fd/{log.fileno()}"))
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Wait for the line in which the service names its port."""
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline:
        written = log.read_text()
        if '"ready"' in written and "Uvicorn running on" in written:
            return written.partition("Uvicorn running on ")[2].split()[0]
        assert process.poll() is None, written
        time.sleep(0.05)
    raise AssertionError(f"The service did not start: {log.read_text()}")
