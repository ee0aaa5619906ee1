"""The benchmark's own parts: its arithmetic, its page, its radiographs and its callers."""

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmark.figures import Figures, Turn, percentile, rate_ratio
from benchmark.load import Caller, Load, request, send
from benchmark.main import Method, _run, _table
from benchmark.radiographs import NAMES, Sample, make
from benchmark.report import Page, table
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
        if status == 503:
            self.send_header("Retry-After", "60")
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


def test_figures_of_processes_side_by_side_and_of_turns() -> None:
    turns = [
        Turn([Slice(2.0, [0.1, 0.3], Counter({503: 4})), Slice(1.0, [0.2])], memory=7),
        Turn([Slice(1.0, [0.4] * 4, Counter({503: 1}))], memory=9),
    ]
    assert [turn.rate for turn in turns] == [2.0, 4.0]
    figures = Figures.of(turns)
    assert (figures.rate, figures.p50, figures.p99) == (3.0, 400, 400)
    assert (figures.memory, figures.others, figures.generator) == (8, 5, 0)
    assert Figures.of([Turn([Slice(1.0, [1.0], generator=0.002)], memory=1)]).generator == 2


def _turns(*rates: int, base: float = math.nan) -> list[Turn]:
    return [Turn([Slice(1.0, [1 / rate] * rate)], memory=100, base=base) for rate in rates]


def test_ratio_of_rates_and_its_standard_error() -> None:
    pairs = [*_turns(9, base=10), *_turns(18, base=20)]
    assert rate_ratio(pairs) == pytest.approx((0.9, 0.0))
    # Of means the jackknife's error is the textbook's.
    assert rate_ratio(_turns(8, 10, 12, base=10)) == pytest.approx((1.0, 0.2 / math.sqrt(3)))
    ratio, error = rate_ratio(_turns(8, base=10))
    assert ratio == 0.8
    assert math.isnan(error)


def test_table() -> None:
    assert table(("name", "figure"), [["a", "1"]]) == "| name | figure |\n| --- | ---: |\n| a | 1 |"


def _method(name: str, callers: int) -> Method:
    return Method(name, callers, lambda sample, seconds: _turns(1)[0])


def test_ratios_are_to_as_many_callers() -> None:
    lines = _table(
        {
            _method("whole job", 2): _turns(100, 50),
            _method("whole job", 1): _turns(200, 100),
            _method("service", 1): _turns(50, 25, base=75),
        }
    ).splitlines()
    row = "| service | 1 | 37.5 (0.50 ± 0.17) | 20.0 (4.00) | 40.0 (4.00) | 40.0 (4.00) | 100.0"
    assert lines[-1].startswith(row)


def test_each_round_has_all_methods_in_another_order_between_two_of_the_whole_job() -> None:
    order: list[str] = []

    def spend(name: str, seconds: float) -> Turn:
        order.append(name if seconds == 1 else "base")
        return _turns(50 + len(order))[0]  # Ever faster, by as much.

    methods = [
        Method(name, 2, lambda sample, seconds, name=name: spend(name, seconds))
        for name in ("bare session", "whole job", *map(str, range(9)))
    ]
    rounds = _run(methods, [Sample("png-1024", b"")], seconds=1, count=3)
    in_rounds = [order[begin : begin + 23] for begin in (0, 23, 46)]
    assert all(one[::2] == ["base"] * 12 for one in in_rounds)
    names = sorted(method.name for method in methods)
    assert all(sorted(one[1::2]) == names for one in in_rounds)
    assert len({tuple(one) for one in in_rounds}) == 3
    assert all(turn.base == turn.rate for turns in rounds["png-1024"].values() for turn in turns)


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
    load = Load(server.server_port, request(BODY), callers=2, seconds=0.1, patient=False)
    spent = send(load)
    assert spent.latencies == []
    assert set(spent.others) == {503}
    assert spent.others[503] > 2


def test_who_is_turned_away_waits_for_as_long_as_the_answer_says(
    server: ThreadingHTTPServer,
) -> None:
    server.statuses = statuses = iter([503, 503, 200])  # type: ignore[attr-defined]
    begun = time.monotonic()
    send(Load(server.server_port, request(BODY), callers=2, seconds=0.1))
    assert next(statuses) == 200  # Neither has asked again.
    assert time.monotonic() - begun < 10  # Nor is it waited for longer than the slice lasts.


def test_a_caller_connects_again_where_the_connection_broke(server: ThreadingHTTPServer) -> None:
    server.statuses = iter([200, 0, 200])  # type: ignore[attr-defined]
    caller = Caller(server.server_port, request(BODY))
    assert [caller.ask() for _ in range(3)] == [200, 0, 200]
    caller.close()


def test_a_caller_that_needs_an_answer_fails_without_one(server: ThreadingHTTPServer) -> None:
    server.statuses = iter([200, 503])  # type: ignore[attr-defined]
    caller = Caller(server.server_port, request(BODY))
    caller.localize()
    with pytest.raises(RuntimeError, match="answers 503"):
        caller.localize()
    caller.close()
