"""The process: `serve` from start to stop, as a deployment sees it."""

import contextlib
import http.client
import json
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from service_helpers import encode_dicom, wait_until
from serving import SMALL, Running, connect, read_all, start

from localization.bundle import Manifest, sha256, write_manifest

REFUSED = "reload refused; the old model goes on"


@pytest.fixture(scope="module")
def running(tiny_bundle: Path) -> Iterator[Running]:
    running = Running(
        start(
            CXR_MODEL=str(tiny_bundle),
            CXR_PORT="0",
            CXR_PROVIDER="cpu",
            CXR_MAX_UPLOAD_BYTES="1000000",
            CXR_DRAIN_SECONDS="1.5",
        )
    )
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_a_client_that_sends_too_much_gets_its_answer_and_a_closed_connection(
    running: Running, framing: str
) -> None:
    total = 30_000_000
    header = (
        f"Content-Length: {total}" if framing == "content-length" else "Transfer-Encoding: chunked"
    )
    block = bytes(1_000_000)
    if framing == "chunked":
        block = b"f4240\r\n" + block + b"\r\n"
    with connect(running) as connection:
        connection.sendall(f"POST /localize HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        for _ in range(30):  # all of it, before the answer is looked at
            connection.sendall(block)
        if framing == "chunked":
            connection.sendall(b"0\r\n\r\n")
        answer = read_all(connection)  # ends only where the server closes
    head, body = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in head.lower()
    assert b"server:" not in head.lower()
    assert json.loads(body)["type"] == "/problems/upload-too-large"


def test_a_client_that_asks_first_is_refused_before_it_sends(running: Running) -> None:
    with connect(running) as connection:
        connection.sendall(
            b"POST /localize HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_from_request_to_drained_without_a_word_of_the_patient(running: Running) -> None:
    url = f"http://127.0.0.1:{running.port}"
    with httpx2.Client(base_url=url, timeout=20) as client:
        files = {"file": ("Mustermann.dcm", encode_dicom())}
        assert client.post("/localize", files=files).json()["radiograph"]["format"] == "DICOM"
        broken = {"file": ("Mustermann.dcm", encode_dicom()[:-2000])}
        assert client.post("/localize", files=broken).status_code == 422
        running.process.send_signal(signal.SIGTERM)
        draining = client.get("/readyz")
        while draining.status_code == 200:  # the server looks at its signals ten times a second
            draining = client.get("/readyz")
        assert draining.status_code == 503
    running.process.wait(30)
    written = running.stop()
    events = [json.loads(line)["event"] for line in running.lines]
    assert events.count("request") >= 2
    assert events.index("ready") < events.index("drained")
    assert "Mustermann" not in written
    assert "4711-0815" not in written


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"CXR_MODEL": "/nowhere"}, "/nowhere"), ({"CXR_PROVIDER": "cuda"}, "cuda")],
)
def test_what_cannot_be_served_ends_the_start_with_one_line(
    tiny_bundle: Path, settings: dict[str, str], reason: str
) -> None:
    process = start(**{"CXR_MODEL": str(tiny_bundle), "CXR_PORT": "0", **settings})
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert reason in errors
    assert len(errors.strip().splitlines()) == 1


def children_of(pid: int) -> list[int]:
    """All processes that ``pid`` has started, and theirs."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended in between
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(stat.parent.name))
    found = list(parents.get(pid, []))
    for child in found:
        found += parents.get(child, [])
    return found


def is_alive(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


class Caller(threading.Thread):
    """A client that posts one radiograph after another over one connection, until it may not."""

    def __init__(self, running: Running, png: bytes) -> None:
        super().__init__(daemon=True)
        self._running, self._png = running, png
        self.answers: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self.enough = threading.Event()
        self.start()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._running.port, timeout=20)
        with contextlib.closing(connection):
            while not self.enough.is_set():
                try:
                    connection.request("POST", "/localize", self._png)
                    response = connection.getresponse()
                except ConnectionError:  # closed or refused, without a byte of an answer
                    self.failures.append("not accepted")
                    return
                except Exception as error:
                    self.failures.append(repr(error))
                    return
                self._take(response)

    def _take(self, response: http.client.HTTPResponse) -> None:
        try:
            answer = json.loads(response.read())
        except Exception as error:  # cut short
            self.failures.append(repr(error))
        else:
            if response.status == 200:
                self.answers.append(answer)
            else:
                self.failures.append(f"{response.status} {answer}")


def versions(caller: Caller) -> list[str]:
    return [answer["model"]["version"] for answer in caller.answers]


def change(bundle: Path, **fields: object) -> None:
    """Rewrite a bundle's manifest."""
    manifest = Manifest.model_validate_json((bundle / "manifest.json").read_bytes())
    write_manifest(manifest.model_copy(update=fields), bundle)


@pytest.fixture
def own_bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture
def own(own_bundle: Path) -> Iterator[Running]:
    """A process of the test's own, with a bundle that it may change."""
    own = Running(start(**SMALL, CXR_MODEL=str(own_bundle)))
    yield own
    if own.process.poll() is None:
        own.stop()


def test_a_new_model_takes_over_without_a_failed_request(
    own: Running, own_bundle: Path, png: bytes
) -> None:
    callers = [Caller(own, png) for _ in range(4)]
    wait_until(lambda: all(len(caller.answers) >= 3 for caller in callers))
    processes = len(children_of(own.process.pid))
    for version in ("2", "3"):
        change(own_bundle, version=version)
        own.process.send_signal(signal.SIGHUP)
        wait_until(lambda version=version: all(versions(each)[-1] == version for each in callers))
        wait_until(lambda: len(children_of(own.process.pid)) == processes)  # the old ones are gone
    for caller in callers:
        caller.enough.set()
        caller.join(20)

    assert [caller.failures for caller in callers] == [[]] * 4
    for caller in callers:  # never back to an older one
        assert versions(caller) == sorted(versions(caller))
        assert set(versions(caller)) == {"1", "2", "3"}


def test_a_model_that_is_refused_does_not_take_over(
    own: Running, own_bundle: Path, png: bytes
) -> None:
    graph, manifest = own_bundle / "model.onnx", own_bundle / "manifest.json"
    good_graph, good_manifest = graph.read_bytes(), manifest.read_bytes()
    caller = Caller(own, png)
    wait_until(lambda: len(caller.answers) >= 1)
    processes = len(children_of(own.process.pid))

    def break_hash() -> None:
        graph.write_bytes(good_graph[:-20])

    def break_graph() -> None:  # what only who opens it can know
        graph.write_bytes(b"no graph at all")
        change(own_bundle, files={"model.onnx": sha256(graph)})

    def break_manifest() -> None:
        manifest.write_bytes(good_manifest[:-20])

    for count, break_it in enumerate((break_hash, break_graph, break_manifest), start=1):
        change(own_bundle, version=f"broken {count}")
        break_it()
        own.process.send_signal(signal.SIGHUP)
        wait_until(lambda count=count: len(own.events(REFUSED)) == count)
        graph.write_bytes(good_graph)
        manifest.write_bytes(good_manifest)
    assert all(event["reason"] for event in own.events(REFUSED))
    answered = len(caller.answers)
    wait_until(lambda: len(caller.answers) > answered)
    wait_until(lambda: len(children_of(own.process.pid)) == processes)
    assert set(versions(caller)) == {"1"}

    change(own_bundle, version="2")
    own.process.send_signal(signal.SIGHUP)
    wait_until(lambda: versions(caller)[-1] == "2")
    caller.enough.set()
    caller.join(20)
    assert caller.failures == []


@pytest.mark.parametrize("attempt", range(10))
def test_a_stop_under_load_loses_no_request_that_was_accepted(
    tiny_bundle: Path, png: bytes, attempt: int
) -> None:
    running = Running(start(**SMALL, CXR_MODEL=str(tiny_bundle)))
    callers = [Caller(running, png) for _ in range(4)]
    wait_until(lambda: all(len(caller.answers) > attempt for caller in callers))
    processes = children_of(running.process.pid)
    running.stop()
    for caller in callers:
        caller.join(20)

    # Who is turned away at the door is told so by the connection, before a byte of an answer.
    assert [caller.failures for caller in callers] == [["not accepted"]] * 4
    requests = running.events("request")
    assert {request["outcome"] for request in requests} == {"answered"}
    answers = [answer["id"] for caller in callers for answer in caller.answers]
    assert sorted(answers) == sorted(request["request_id"] for request in requests)
    assert len(running.events("drained")) == 1
    assert not [line for line in running.lines if '"level":"error"' in line]
    wait_until(lambda: not any(is_alive(pid) for pid in processes))


def test_the_last_of_two_new_models_is_the_one_that_stays(
    own: Running, own_bundle: Path, png: bytes
) -> None:
    caller = Caller(own, png)
    wait_until(lambda: len(caller.answers) >= 1)
    processes = len(children_of(own.process.pid))
    change(own_bundle, version="2")
    own.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(children_of(own.process.pid)) > processes)  # it is read already
    change(own_bundle, version="3")
    own.process.send_signal(signal.SIGHUP)
    try:
        wait_until(lambda: versions(caller)[-1] == "3", seconds=8)
    finally:
        caller.enough.set()
        caller.join(20)


@contextlib.contextmanager
def started(bundle: Path, **more: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that may still be loading, and that nothing is left of afterwards."""
    with ended(start(**SMALL, CXR_MODEL=str(bundle), **more)) as process:
        yield process


@contextlib.contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def test_a_reload_that_is_asked_for_too_early_does_no_harm(tiny_bundle: Path) -> None:
    with started(tiny_bundle) as process:
        wait_until(lambda: len(children_of(process.pid)) > 2)  # the workers load
        process.send_signal(signal.SIGHUP)
        assert '"drained"' in Running(process).stop()


@pytest.mark.parametrize("inherited", [signal.SIG_DFL, signal.SIG_IGN])
def test_ctrl_c_ends_a_process_that_loads(tiny_bundle: Path, inherited: signal.Handlers) -> None:
    """A shell ignores SIGINT in what it starts in the background."""
    before = signal.signal(signal.SIGINT, inherited)
    try:
        process = start(**SMALL, CXR_MODEL=str(tiny_bundle))
    finally:
        signal.signal(signal.SIGINT, before)
    with ended(process):
        wait_until(lambda: len(children_of(process.pid)) > 2)  # the workers load
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def test_sigterm_ends_a_process_that_loads(tiny_bundle: Path) -> None:
    with started(tiny_bundle) as process:
        wait_until(lambda: len(children_of(process.pid)) > 2)  # the workers load
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert errors == ""


def test_a_second_ctrl_c_ends_a_process_that_drains(tiny_bundle: Path) -> None:
    with started(tiny_bundle, CXR_DRAIN_SECONDS="30") as process:
        running = Running(process)
        process.send_signal(signal.SIGINT)
        with httpx2.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=20) as client:
            wait_until(lambda: client.get("/readyz").status_code == 503)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(5)
        finally:
            process.kill()
            running.written()
