"""Draws the README's pictures of the page, and times it: `scripts/screenshots`.

The time runs from the moment in which a radiograph is chosen, with the page open and warm or just
being loaded, until its finding is drawn.
"""

import time
from pathlib import Path

from page_helpers import ROOT, browser, public_radiograph, service
from PIL import Image
from playwright.sync_api import Browser, Page

SIZE = {"width": 1280, "height": 800}
TRIES = 7


def main() -> None:
    """Write docs/page-light.png and docs/page-dark.png, and print the best times."""
    with service() as url, browser() as chrome:
        for theme in ("light", "dark"):
            _draw(chrome, url, theme, ROOT / "docs" / f"page-{theme}.png")
        times = [_time(chrome, url) for _ in range(TRIES)]
    first = min(paint for paint, _ in times)
    answer = min(answer for _, answer in times)
    print(f"first paint after {first:.2f} s, finding drawn after {answer:.2f} s; best of {TRIES}")


def _draw(chrome: Browser, url: str, theme: str, path: Path) -> None:
    with chrome.new_context(viewport=SIZE, color_scheme=theme) as context:
        page = context.new_page()
        page.goto(url)
        _localize(page)
        page.screenshot(path=path)
    # 256 colours take a third of the bytes, and the eye sees no difference.
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256).save(path, optimize=True)


def _localize(page: Page) -> None:
    page.locator("#files-input").set_input_files(public_radiograph())
    page.locator("#caption", has_text="operating point").wait_for()


def _time(chrome: Browser, url: str) -> tuple[float, float]:
    """Seconds from opening the page with nothing cached: to its first paint, to the finding."""
    with chrome.new_context(viewport=SIZE) as context:
        page = context.new_page()
        started = time.perf_counter()
        page.goto(url)
        _localize(page)
        seconds = time.perf_counter() - started
        paint = page.evaluate("performance.getEntriesByName('first-paint')[0].startTime")
        return paint / 1000, seconds


if __name__ == "__main__":
    main()
