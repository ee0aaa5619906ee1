"""The benchmark's own parts: its arithmetic, its page, its radiographs and its callers."""

import math
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmark.load import Caller, Load, request, send
from benchmark.main import Method, _table
from benchmark.radiographs import NAMES, make
from benchmark.report import Figures, Page, percentile, table
from benchmark.work import Slice
from localization import Radiograph

BODY = b"a radiograph"


class Answering(BaseHTTPRequestHandler):
    """Answers what its server's `statuses` say, in turn; 0 hangs up."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert self.rfile.read(int(self.headers["Content-Length"])) == BODY
        status = next(self.server.statuses)  # type: ignore[attr-defined]
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(bytes(100_000))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([3.0], 99) == percentile([3.0], 1) == 3
    assert math.isnan(percentile([], 50))


def test_figures_of_processes_side_by_side() -> None:
    slices = [Slice(2.0, [0.1, 0.3], Counter({503: 4}), 0.002), Slice(1.0, [0.2])]
    figures = Figures.of(slices, memory=7)
    assert (figures.rate, figures.p50, figures.p99) == (2.0, 200, 300)
    assert (figures.memory, figures.others, figures.generator) == (7, 4, 2)


def test_table() -> None:
    assert table(("name", "figure"), [["a", "1"]]) == "| name | figure |\n| --- | ---: |\n| a | 1 |"


def test_ratios_are_to_the_same_rounds_and_to_as_many_callers() -> None:
    def method(name: str, callers: int) -> Method:
        return Method(name, callers, lambda sample, seconds: Figures(0, 0, 0, 0, 0))

    def rounds(*latencies: float) -> list[Figures]:
        return [Figures(1000 / ms, ms, ms, ms, memory=100) for ms in latencies]

    lines = _table(
        {
            method("whole job", 2): rounds(10, 20, 10),
            method("whole job", 1): rounds(5, 10, 5),
            method("service", 1): rounds(10, 20, 40),
        }
    ).splitlines()
    assert lines[-1].startswith("| service | 1 | 50.0 (1.00) | 20.0 (2.00) | 20.0 (2.00) |")


def test_page_changes_its_part_alone(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n<!-- b --><!-- /b -->\n")
    for content in ("once", "twice"):
        Page(file, "a").write(content)
    expected = "before\n<!-- a -->\n\ntwice\n\n<!-- /a -->\nafter\n<!-- b --><!-- /b -->\n"
    assert file.read_text() == expected
    with pytest.raises(ValueError, match="no part from <!-- c -->"):
        Page(file, "c")


@pytest.mark.parametrize("name", NAMES)
def test_radiographs_are_what_their_names_say(name: str) -> None:
    file_format, side = name.split("-")
    sample = make(name)
    radiograph = Radiograph.read(sample.data)
    assert radiograph.format == file_format.upper()
    assert (radiograph.width, radiograph.height) == (int(side), int(side))
    assert radiograph.pixels.std() > 30
    if file_format == "dicom":
        assert len(sample.data) > 2 * int(side) ** 2


def test_callers_count_what_is_answered_in_the_slice(server: ThreadingHTTPServer) -> None:
    server.statuses = iter(lambda: 200, None)  # type: ignore[attr-defined]
    spent = send(Load(server.server_port, request(BODY), callers=3, seconds=0.1))
    assert len(spent.latencies) >= 3
    assert all(0 < latency < 5 for latency in spent.latencies)
    assert not spent.others
    assert spent.generator > 0


def test_other_answers_are_counted_apart(server: ThreadingHTTPServer) -> None:
    server.statuses = iter(lambda: 503, None)  # type: ignore[attr-defined]
    spent = send(Load(server.server_port, request(BODY), callers=2, seconds=0.1))
    assert spent.latencies == []
    assert set(spent.others) == {503}


def test_a_caller_connects_again_where_the_connection_broke(server: ThreadingHTTPServer) -> None:
    server.statuses = iter([200, 0, 200])  # type: ignore[attr-defined]
    caller = Caller(server.server_port, request(BODY))
    assert [caller.ask() for _ in range(3)] == [200, 0, 200]
    caller.close()
