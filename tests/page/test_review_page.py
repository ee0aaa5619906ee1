"""The review in a browser, with its real server behind it: what a reviewer sees and does."""

import contextlib
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from page_helpers import intercept
from playwright.sync_api import Page, expect

from harvesting.dataset import Dataset
from harvesting.rows import FindingRow, RadiographRow, Rows, encode_heatmap
from localization import DISEASES, Box, Field, Finding
from reviewing.app import create_app
from reviewing.desk import Desk
from reviewing.log import Log
from reviewing.log_file import REVIEWS

OpenPage = Callable[..., Page]
SIDE = 400
THRESHOLD = 0.25
MINED = {"a": (40.0, 60.0, 160.0, 120.0), "b": (200.0, 100.0, 80.0, 200.0)}
COLUMNS = "reviewer, path, disease, box, action, x, y, width, height, new_disease"


def shard(radiographs: int) -> Rows:
    """Radiographs `a0.png`, `b1.png`, ... with one box each, of Mass and of Effusion in turns."""
    found = []
    for number in range(radiographs):
        name = "ab"[number % 2]
        disease = "Mass" if name == "a" else "Effusion"
        heat = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
        # Ever more certain.
        probability = THRESHOLD + 0.02 * number
        heatmap = encode_heatmap(Finding(disease, probability, THRESHOLD, heat, (), heat[None]))
        boxes = (Box(*MINED[name], 0.8), Box(10, 300, 50, 60, 0.5)) if number == 0 else ()
        boxes = boxes or (Box(*MINED[name], 0.8),)
        path = f"{name}{number}.png"
        found.append(FindingRow(path, disease, probability, THRESHOLD, number != 2, boxes, heatmap))
    rows = tuple(
        RadiographRow(
            row.path,
            "localized",
            format="PNG",
            width=SIDE,
            height=SIDE,
            field=Field(0, 0, SIDE, SIDE),
            image_left="patient right",
            labels=("Mass",),
            probabilities=(0.1,) * len(DISEASES),
        )
        for row in found
    )
    return Rows(rows, tuple(found), ())


def radiograph(path: str) -> bytes:
    """Gray, brighter to the right; another one for each path."""
    row = np.linspace(0, 200 - ord(path[1]), SIDE).astype(np.uint8)
    return cv2.imencode(".png", np.tile(row, (SIDE, 1)))[1].tobytes()


@contextlib.contextmanager
def serving(folder: Path, reviewer: str | None = None) -> Iterator[str]:
    with Log.open(folder) as log, socket.create_server(("127.0.0.1", 0)) as listening:
        desk = Desk.open(Dataset.open(str(folder)), log, radiograph)
        app = create_app(desk, host="127.0.0.1", reviewer=reviewer)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture
def folder(write_dataset: Callable[..., Path]) -> Path:
    return write_dataset([shard(6)])


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """In place of the service's."""
    with serving(folder) as url:
        yield url


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return begin(open_page(), "Ann")


def begin(page: Page, name: str) -> Page:
    """Give the name that the page asks for, and wait for the first box."""
    page.locator("#name").fill(name)
    page.keyboard.press("Enter")
    return ready(page)


def ready(page: Page) -> Page:
    expect(page.locator("#accept")).to_be_enabled()
    return page


def wait_for_box(page: Page, path: str, place: str = "1 of") -> None:
    expect(page.locator("#facts")).to_contain_text(path)
    expect(page.locator("#facts")).to_contain_text(place)
    ready(page)


def decisions(folder: Path) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(folder / REVIEWS)
    try:
        return database.execute(f"SELECT {COLUMNS} FROM decisions ORDER BY id").fetchall()
    finally:
        database.close()


def rectangle(page: Page, selector: str) -> dict[str, float]:
    box = page.locator(selector).bounding_box()
    assert box is not None, f"{selector} is not shown"
    return dict(box)


def scale(page: Page) -> float:
    """Pixels of the screen for one of the radiograph."""
    return rectangle(page, "#stage")["width"] / SIDE


def drag(page: Page, start: tuple[float, float], across: float, down: float) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + across / 2, start[1] + down / 2)
    page.mouse.move(start[0] + across, start[1] + down)
    page.mouse.up()


def middle(rectangle: dict[str, float]) -> tuple[float, float]:
    return (
        rectangle["x"] + rectangle["width"] / 2,
        rectangle["y"] + rectangle["height"] / 2,
    )


def corner(page: Page) -> tuple[float, float]:
    """The lower right one of the box."""
    box = rectangle(page, "#box")
    return box["x"] + box["width"], box["y"] + box["height"]


def only(folder: Path) -> tuple[Any, ...]:
    [row] = decisions(folder)
    return row


def test_the_name_is_asked_for_first_and_kept_in_the_browser(page: Page, folder: Path) -> None:
    expect(page.locator("#reviewer")).to_have_text("Ann")
    page.keyboard.press("a")
    wait_for_box(page, "a0.png", "2 of 2")
    page.reload()
    ready(page)
    expect(page.locator("#name-dialog")).to_be_hidden()
    expect(page.locator("#reviewer")).to_have_text("Ann")
    assert only(folder)[0] == "Ann"


def test_a_name_of_blanks_is_none(open_page: OpenPage) -> None:
    page = open_page()
    page.locator("#name").fill("  ")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("#name-dialog")).to_be_visible()


def test_the_command_can_give_the_name(write_dataset: Callable[..., Path], chrome: Any) -> None:
    with serving(write_dataset([shard(1)]), "Ben") as url, chrome.new_context() as context:
        page = context.new_page()
        page.goto(url)
        expect(page.locator("#reviewer")).to_have_text("Ben")


def test_the_box_lies_where_it_was_mined_at_each_zoom(page: Page) -> None:
    for key in ("", "+", "z"):
        if key:
            page.keyboard.press(key)
        stage, unit = rectangle(page, "#stage"), scale(page)
        x, y, width, height = MINED["a"]
        assert rectangle(page, "#box") == pytest.approx(
            {
                "x": stage["x"] + x * unit,
                "y": stage["y"] + y * unit,
                "width": width * unit,
                "height": height * unit,
            },
            abs=0.6,
        )
    expect(page.locator("#side-left")).to_have_text("R")
    expect(page.locator("#boxes .box")).to_have_count(1)  # the finding's other one


def test_accept_by_key_and_by_mouse(page: Page, folder: Path) -> None:
    page.keyboard.press("a")
    wait_for_box(page, "a0.png", "2 of 2")
    page.locator("#accept").click()
    wait_for_box(page, "b1.png")
    assert decisions(folder) == [
        ("Ann", "a0.png", "Mass", 0, "accept", *MINED["a"], None),
        ("Ann", "a0.png", "Mass", 1, "accept", 10, 300, 50, 60, None),
    ]
    expect(page.locator("#count")).to_have_text("2 of 7")


def test_reject_by_key_and_by_mouse(page: Page, folder: Path) -> None:
    page.keyboard.press("r")
    wait_for_box(page, "a0.png", "2 of 2")
    page.locator("#reject").click()
    wait_for_box(page, "b1.png")
    assert [row[4:6] for row in decisions(folder)] == [("reject", None)] * 2


def test_move_by_mouse(page: Page, folder: Path) -> None:
    unit, before = scale(page), rectangle(page, "#stage")
    drag(page, middle(rectangle(page, "#box")), 60, 30)
    expect(page.locator("#accept")).to_contain_text("Accept as moved")
    page.keyboard.press("a")
    wait_for_box(page, "a0.png", "2 of 2")
    x, y, width, height = MINED["a"]
    assert only(folder)[4] == "move"
    assert only(folder)[5:9] == pytest.approx((x + 60 / unit, y + 30 / unit, width, height), abs=1)
    assert rectangle(page, "#stage") == before  # the radiograph stayed


def test_resize_by_mouse(page: Page, folder: Path) -> None:
    page.keyboard.press("+")
    unit = scale(page)
    drag(page, corner(page), 50, -40)
    page.locator("#accept").click()
    wait_for_box(page, "a0.png", "2 of 2")
    x, y, width, height = MINED["a"]
    assert only(folder)[4] == "move"
    assert only(folder)[5:9] == pytest.approx((x, y, width + 50 / unit, height - 40 / unit), abs=1)


def test_a_box_stays_within_its_radiograph_and_keeps_an_inside(page: Page, folder: Path) -> None:
    drag(page, middle(rectangle(page, "#box")), -700, -700)
    stage, box = rectangle(page, "#stage"), rectangle(page, "#box")
    assert (box["x"], box["y"]) == pytest.approx((stage["x"], stage["y"]), abs=0.6)
    drag(page, corner(page), -700, -700)
    page.keyboard.press("a")
    wait_for_box(page, "a0.png", "2 of 2")
    x, y, width, height = only(folder)[5:9]
    assert (x, y) == (0, 0)
    assert 0 < width < 20
    assert 0 < height < 20


def test_the_radiograph_beside_the_box_is_panned(page: Page) -> None:
    page.keyboard.press("+")
    before = rectangle(page, "#stage")
    drag(page, (before["x"] + 600, before["y"] + 600), -50, -40)
    after = rectangle(page, "#stage")
    assert after["y"] == pytest.approx(before["y"] - 40)
    expect(page.locator("#accept")).not_to_contain_text("moved")


def test_move_and_resize_by_keys(page: Page, folder: Path) -> None:
    step = 5 / scale(page)
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "Shift+ArrowRight", "Control+ArrowUp"):
        page.keyboard.press(key)
    page.keyboard.press("a")
    wait_for_box(page, "a0.png", "2 of 2")
    x, y, width, height = MINED["a"]
    expected = (x + step, y + step, width + step, height + step)
    assert only(folder)[5:9] == pytest.approx(expected)


def test_steps_are_finer_where_it_is_zoomed(page: Page, folder: Path) -> None:
    page.keyboard.press("z")
    step = 5 / scale(page)
    page.locator("#view").focus()  # whose own arrows would pan
    stage = rectangle(page, "#stage")
    page.keyboard.press("ArrowLeft")
    assert rectangle(page, "#stage") == stage
    page.keyboard.press("a")
    wait_for_box(page, "a0.png", "2 of 2")
    assert only(folder)[5] == pytest.approx(MINED["a"][0] - step)


def test_reset_gives_the_mined_box_back(page: Page, folder: Path) -> None:
    page.keyboard.press("ArrowRight")
    expect(page.locator("#reset")).to_be_enabled()
    page.keyboard.press("Escape")
    expect(page.locator("#reset")).to_be_disabled()
    page.keyboard.press("a")
    wait_for_box(page, "a0.png", "2 of 2")
    assert only(folder)[4] == "accept"


def test_relabel_by_keys(page: Page, folder: Path) -> None:
    page.keyboard.press("ArrowRight")
    page.keyboard.press("l")
    expect(page.locator("#relabel-dialog")).to_be_visible()
    page.keyboard.press("m")  # its own disease, which it cannot be relabelled to
    expect(page.locator("#relabel-dialog")).to_be_visible()
    page.keyboard.press("n")
    wait_for_box(page, "a0.png", "2 of 2")
    row = only(folder)
    assert (row[2], row[4], row[9]) == ("Mass", "relabel", "Nodule")
    assert row[5] > MINED["a"][0]


def test_relabel_by_mouse(page: Page, folder: Path) -> None:
    page.locator("#relabel").click()
    expect(page.locator("#diseases button")).to_have_count(14)
    page.locator("#diseases button", has_text="Pleural thickening").click()
    wait_for_box(page, "a0.png", "2 of 2")
    assert only(folder)[5:] == (*MINED["a"], "Pleural_Thickening")


def test_relabelling_can_be_thought_better_of(page: Page, folder: Path) -> None:
    page.keyboard.press("l")
    page.keyboard.press("Escape")
    expect(page.locator("#relabel-dialog")).to_be_hidden()
    assert decisions(folder) == []


def test_undo_goes_back_box_by_box(page: Page, folder: Path) -> None:
    page.keyboard.press("a")
    wait_for_box(page, "a0.png", "2 of 2")
    page.keyboard.press("r")
    wait_for_box(page, "b1.png")
    page.locator("#undo").click()
    wait_for_box(page, "a0.png", "2 of 2")
    page.keyboard.press("u")
    wait_for_box(page, "a0.png", "1 of 2")
    expect(page.locator("#count")).to_have_text("0 of 7")
    page.keyboard.press("u")
    expect(page.locator("#caption")).to_contain_text("nothing to undo")
    assert [(row[3], row[4]) for row in decisions(folder)] == [
        (0, "accept"),
        (1, "reject"),
        (1, "undo"),
        (0, "undo"),
    ]


def test_undo_survives_a_reload(page: Page) -> None:
    page.keyboard.press("a")
    wait_for_box(page, "a0.png", "2 of 2")
    page.reload()
    wait_for_box(page, "a0.png", "2 of 2")
    page.keyboard.press("u")
    wait_for_box(page, "a0.png", "1 of 2")


def test_skip_leaves_it_for_later_and_logs_nothing(page: Page, folder: Path) -> None:
    page.keyboard.press("s")
    wait_for_box(page, "a0.png", "2 of 2")
    page.locator("#skip").click()
    wait_for_box(page, "b1.png")
    assert decisions(folder) == []


def test_a_reload_keeps_the_place_and_what_was_chosen(page: Page) -> None:
    page.locator("#disease").select_option("Effusion")
    wait_for_box(page, "b1.png")
    page.keyboard.press("Shift+Tab")  # in a list, letters are the list's
    page.locator("#view").focus()
    page.keyboard.press("a")
    wait_for_box(page, "b3.png")
    page.keyboard.press("s")
    wait_for_box(page, "b5.png")
    page.reload()
    wait_for_box(page, "b5.png")
    expect(page.locator("#count")).to_have_text("1 of 3")


def test_the_disputed_come_first_where_that_is_chosen(page: Page) -> None:
    page.locator("#walk").select_option("disputed")
    wait_for_box(page, "a2.png")
    expect(page.locator("#facts")).to_contain_text("label and model disagree")


def test_when_all_is_judged_the_page_says_so(page: Page, folder: Path) -> None:
    for count in range(1, 8):
        page.keyboard.press("a")
        expect(page.locator("#count")).to_have_text(f"{count} of 7")
        if count < 7:
            ready(page)
    expect(page.locator("#message-title")).to_have_text("All boxes are judged")
    expect(page.locator("#accept")).to_be_disabled()
    page.keyboard.press("a")
    page.locator("#undo").click()
    wait_for_box(page, "b5.png")
    assert len(decisions(folder)) == 8


def test_two_browsers_at_once_lose_nothing(open_page: OpenPage, folder: Path) -> None:
    ann, ben = begin(open_page(), "Ann"), begin(open_page(), "Ben")
    wait_for_box(ann, "a0.png")
    wait_for_box(ben, "b1.png")  # another radiograph than hers
    for count in range(1, 8):
        ready(ann).keyboard.press("a")
        ready(ben).keyboard.press("r")
        for page in (ann, ben):
            expect(page.locator("#count")).to_have_text(f"{count} of 7")
    rows = decisions(folder)
    assert len(rows) == 14
    for name, action in (("Ann", "accept"), ("Ben", "reject")):
        own = [row for row in rows if row[0] == name]
        assert len({row[1:4] for row in own}) == 7
        assert {row[4] for row in own} == {action}


def test_a_stale_page_of_the_same_reviewer_appends_and_its_decision_counts(
    open_page: OpenPage, folder: Path
) -> None:
    first, second = begin(open_page(), "Ann"), begin(open_page(), "Ann")
    first.keyboard.press("a")
    wait_for_box(first, "a0.png", "2 of 2")
    second.keyboard.press("r")
    wait_for_box(second, "a0.png", "2 of 2")
    assert [row[3:5] for row in decisions(folder)] == [(0, "accept"), (0, "reject")]
    expect(second.locator("#count")).to_have_text("1 of 7")


def test_agreement_is_shown(open_page: OpenPage) -> None:
    for name, key in (("Ann", "a"), ("Ben", "r")):
        page = begin(open_page(), name)
        page.locator("#walk").select_option("disputed")
        if name == "Ben":
            page.locator("#walk").select_option("second")
        wait_for_box(page, "a2.png")
        page.locator("#view").focus()
        page.keyboard.press(key)
        expect(page.locator("#caption")).to_contain_text("ed")
        expect(page.locator("#count")).to_contain_text("1 of")
    page.locator("#agreement summary").click()
    expect(page.locator("#agreement tbody")).to_contain_text("Ann / Ben")
    expect(page.locator("#agreement tbody")).to_contain_text("0.0")


def test_what_is_not_saved_is_said_and_can_be_sent_again(page: Page, folder: Path) -> None:
    intercept(page, "**/decisions", lambda route: route.abort())
    page.keyboard.press("a")
    expect(page.locator("#problem-title")).to_have_text("Not saved")
    expect(page.locator("#problem-detail")).to_contain_text("cannot be reached")
    wait_for_box(page, "a0.png", "1 of 2")
    page.unroute("**/decisions")
    page.keyboard.press("a")
    wait_for_box(page, "a0.png", "2 of 2")
    expect(page.locator("#problem")).to_be_hidden()
    assert len(decisions(folder)) == 1


def test_what_is_saved_is_not_called_unsaved_where_the_next_box_does_not_come(
    page: Page, folder: Path
) -> None:
    intercept(page, "**/boxes?*", lambda route: route.abort())
    page.keyboard.press("a")
    expect(page.locator("#problem-title")).to_contain_text("cannot be reached")
    assert only(folder)[4] == "accept"


def test_what_cannot_be_seen_cannot_be_judged(page: Page, folder: Path) -> None:
    page.keyboard.press("s")
    wait_for_box(page, "a0.png", "2 of 2")
    gone = {"title": "The radiograph is not at its source", "detail": "Say --source."}
    intercept(page, "**/picture", lambda route: route.fulfill(status=404, json=gone))
    page.locator("#disease").select_option("Effusion")
    for _ in range(2):  # the first one's radiograph was fetched ahead
        page.locator("#view").evaluate("() => document.activeElement.blur()")
        page.keyboard.press("s")
        expect(page.locator("#skip")).to_be_enabled()
    expect(page.locator("#message-title")).to_have_text(gone["title"])
    expect(page.locator("#message-detail")).to_have_text(gone["detail"])
    expect(page.locator("#accept")).to_be_disabled()
    page.keyboard.press("a")
    assert decisions(folder) == []


BREAK_OFF = "Response.prototype.blob = () => Promise.reject(new TypeError('network error'))"


@pytest.mark.parametrize("broken", ["on the way", "within", "refused"])
def test_a_radiograph_that_breaks_off_is_not_judged_and_can_be_asked_for_again(
    page: Page, folder: Path, broken: str
) -> None:
    if broken == "on the way":
        page.evaluate(f"() => {{ window.whole = Response.prototype.blob; {BREAK_OFF}; }}")
    elif broken == "within":
        intercept(page, "**/picture", lambda route: route.fulfill(body=b"\x89PNG"))
    else:
        intercept(page, "**/picture", lambda route: route.abort())
    page.keyboard.press("a")
    wait_for_box(page, "a0.png", "2 of 2")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("a")
    expect(page.locator("#again")).to_be_visible()
    expect(page.locator("#facts")).to_contain_text("b1.png")
    expect(page.locator("#stage")).to_be_hidden()
    expect(page.locator("#skip")).to_be_enabled()
    expect(page.locator("#accept")).to_be_disabled()
    expect(page.locator("#accept")).not_to_contain_text("moved")
    for key in ("ArrowRight", "a", "r", "l"):
        page.keyboard.press(key)
    page.locator("#again").click()  # it breaks off again
    expect(page.locator("#skip")).to_be_enabled()
    expect(page.locator("#again")).to_be_visible()
    assert [row[4] for row in decisions(folder)] == ["accept", "move"]
    page.unroute("**/picture")
    page.evaluate("() => { if (window.whole) Response.prototype.blob = window.whole; }")
    page.locator("#again").click()
    wait_for_box(page, "b1.png")
    expect(page.locator("#again")).to_be_hidden()
    page.keyboard.press("a")
    wait_for_box(page, "a2.png")
    assert decisions(folder)[2][1:] == ("b1.png", "Effusion", 0, "accept", *MINED["b"], None)


def test_a_page_that_cannot_ask_its_server_says_so(open_page: OpenPage) -> None:
    page = open_page()
    page.route("**/about", lambda route: route.fulfill(body="{"))
    page.reload()
    expect(page.locator("#message-title")).to_have_text("The answer broke off")
    expect(page.locator("#accept")).to_be_disabled()


def test_keys_can_be_turned_off(page: Page, folder: Path) -> None:
    page.locator("#use-keys").uncheck()
    page.keyboard.press("a")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#reset")).to_be_disabled()
    expect(page.locator("#count")).to_have_text("0 of 7")
    assert decisions(folder) == []


def test_a_key_that_is_held_decides_once(page: Page, folder: Path) -> None:
    page.keyboard.down("a")
    for _ in range(5):
        page.keyboard.down("a")  # as the keyboard repeats it
    wait_for_box(page, "a0.png", "2 of 2")
    page.keyboard.up("a")
    assert len(decisions(folder)) == 1


def test_layers_and_tones_have_keys(page: Page) -> None:
    for key, element in (("h", "#heat"), ("b", "#box")):
        page.keyboard.press(key)
        expect(page.locator(element)).to_be_hidden()
        page.keyboard.press(key)
        expect(page.locator(element)).to_be_visible()
    page.keyboard.press("i")
    assert "invert(1)" in page.locator("#picture").evaluate("(each) => each.style.filter")
    page.locator("#plain").click()
    assert "invert(0)" in page.locator("#picture").evaluate("(each) => each.style.filter")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("moment", ["name", "box", "relabel"])
def test_axe_finds_nothing(open_page: OpenPage, theme: str, moment: str) -> None:
    page = open_page(color_scheme=theme, reduced_motion="reduce")
    expect(page.locator("#name-dialog")).to_be_visible()
    if moment != "name":
        begin(page, "Ann")
        page.locator("#agreement summary").click()
    if moment == "relabel":
        page.keyboard.press("l")
    violations = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"]) for each in violations] == []


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_nothing_is_cut_off(open_page: OpenPage, width: int) -> None:
    page = begin(open_page(viewport={"width": width, "height": 700}), "Ann")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    expect(page.locator("#accept")).to_be_visible()
