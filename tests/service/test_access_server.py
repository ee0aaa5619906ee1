"""Keys, TLS and the metrics' port as a deployment meets them: a process, and sockets to it."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
from service_helpers import wait_until
from serving import Running, connect, read_all, start

from service.keys import make_key

KEY, LINE = make_key("viewer")
BEARER = {"Authorization": f"Bearer {KEY}"}
SMALL = {"CXR_PORT": "0", "CXR_PROVIDER": "cpu", "CXR_WORKERS": "1", "CXR_THREADS": "1"}


@contextlib.contextmanager
def served(bundle: Path, **settings: str) -> Iterator[Running]:
    running = Running(start(**SMALL, CXR_MODEL=str(bundle), **settings))
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("access") / "keys"
    file.write_text(f"{LINE}\n")
    return file


@pytest.fixture(scope="module")
def running(tiny_bundle: Path, keys: Path) -> Iterator[Running]:
    """A service that is bound to every address, and so asks for keys."""
    with served(tiny_bundle, CXR_HOST="0.0.0.0", CXR_API_KEYS_FILE=str(keys)) as running:
        with client_of(running) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200)
        yield running


def client_of(running: Running) -> httpx2.Client:
    return httpx2.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=20)


@pytest.mark.parametrize(
    "framing",
    ["Content-Length: 50000000", "Transfer-Encoding: chunked"],
)
def test_without_a_key_the_answer_comes_before_the_body(running: Running, framing: str) -> None:
    with connect(running) as connection:
        connection.settimeout(3)  # less than a refused upload is read on for
        connection.sendall(f"POST /localize HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())
        answer = connection.recv(65536)
        while b"}" not in answer:
            answer += connection.recv(65536)
    head, body = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"www-authenticate: bearer" in head.lower()
    assert b"connection: close" in head.lower()
    assert json.loads(body)["type"] == "/problems/unauthorized"


def test_a_client_that_asks_first_is_told_before_it_sends(running: Running) -> None:
    with connect(running) as connection:
        connection.sendall(
            b"POST /localize HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_a_client_that_sends_everything_all_the_same_reads_its_answer(running: Running) -> None:
    with connect(running) as connection:
        connection.sendall(
            b"POST /localize HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n"
        )
        for _ in range(30):
            connection.sendall(bytes(1_000_000))
        assert read_all(connection).startswith(b"HTTP/1.1 401 ")


def test_a_request_without_a_body_keeps_its_connection(running: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    with contextlib.closing(connection):
        for _ in range(2):
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            response.read()
            assert (response.status, response.will_close) == (401, False)


class Guesser(threading.Thread):
    """Tries wrong keys, one request after another."""

    def __init__(self, running: Running, count: int) -> None:
        super().__init__(daemon=True)
        self._running, self._count = running, count
        self.statuses: list[int] = []

    def run(self) -> None:
        with client_of(self._running) as client:
            for number in range(self._count):
                headers = {"X-API-Key": f"cxr_{number}"}
                self.statuses.append(
                    client.post("/localize", content=b"x", headers=headers).status_code
                )


def timed(client: httpx2.Client, png: bytes) -> float:
    started = time.perf_counter()
    assert client.post("/localize", content=png, headers=BEARER).status_code == 200
    return time.perf_counter() - started


def test_a_thousand_wrong_keys_change_nothing_for_the_right_one(
    running: Running, png: bytes, record_property: Any
) -> None:
    guessers = [Guesser(running, 250) for _ in range(4)]
    with client_of(running) as client:
        before = [timed(client, png) for _ in range(50)]
        for guesser in guessers:
            guesser.start()
        during = []
        while any(guesser.is_alive() for guesser in guessers):
            during.append(timed(client, png))
        after = [timed(client, png) for _ in range(50)]
    assert [guesser.statuses for guesser in guessers] == [[401] * 250] * 4
    for name, times in (("before", before), ("during", during), ("after", after)):
        record_property(name, statistics.median(times))
    assert len(during) >= 10
    assert max(during) < 5
    # Nothing of them stays: a lock, a count or a pause would outlast them.
    assert statistics.median(after) < 5 * statistics.median(before) + 0.05


def test_keys_change_hands_without_a_restart_or_a_failed_request(
    running: Running, keys: Path, png: bytes
) -> None:
    new, new_line = make_key("viewer")
    with client_of(running) as client:

        def status(key: str) -> int:
            headers = {"X-API-Key": key}
            return client.post("/localize", content=png, headers=headers).status_code

        write(keys, f"{LINE}\n{new_line}\n")
        wait_until(lambda: status(new) == 200, seconds=5)
        assert status(KEY) == 200
        write(keys, f"{new_line}\n")
        wait_until(lambda: status(KEY) == 401, seconds=5)
        assert status(new) == 200
        write(keys, f"{LINE}\n")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: status(KEY) == 200, seconds=5)
        assert status(new) == 401
    assert running.process.poll() is None


def write(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """Settings of a certificate for localhost."""
    certificate = authority.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(key)
    return {"CXR_TLS_CERTIFICATE": str(chain), "CXR_TLS_KEY": str(key)}


@pytest.mark.parametrize(
    ("settings", "reasons"),
    [
        ({"CXR_HOST": "0.0.0.0"}, ["0.0.0.0", "cxr-localizer key NAME", "CXR_ACCESS=open"]),
        ({"CXR_ACCESS": "keys"}, ["needs an API key"]),
        ({"CXR_API_KEYS_FILE": "/nowhere/keys"}, ["/nowhere/keys"]),
        ({"CXR_API_KEYS": KEY}, ["entry 1 of CXR_API_KEYS"]),
        ({"CXR_TLS_KEY": "/nowhere/key.pem"}, ["CXR_TLS_CERTIFICATE is not set"]),
        ({"CXR_TLS_CERTIFICATE": "/nowhere/chain.pem"}, ["CXR_TLS_KEY is not set"]),
        (
            {"CXR_TLS_CERTIFICATE": "/nowhere/chain.pem", "CXR_TLS_KEY": "/nowhere/key.pem"},
            ["/nowhere/chain.pem", "No such file"],
        ),
    ],
)
def test_what_is_not_safe_does_not_start_and_says_why_in_one_line(
    tiny_bundle: Path, settings: dict[str, str], reasons: list[str]
) -> None:
    process = start(**SMALL, CXR_MODEL=str(tiny_bundle), **settings)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(errors.strip().splitlines()) == 1
    assert all(reason in errors for reason in reasons)
    assert KEY not in errors


def test_a_certificate_without_its_own_key_does_not_start(
    tiny_bundle: Path, tls: dict[str, str], tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(other)
    process = start(**{**SMALL, **tls, "CXR_MODEL": str(tiny_bundle), "CXR_TLS_KEY": str(other)})
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "KEY_VALUES_MISMATCH" in errors


def test_a_key_without_its_password_does_not_start_and_asks_no_one(
    tiny_bundle: Path, tls: dict[str, str]
) -> None:
    encrypt(Path(tls["CXR_TLS_KEY"]), b"secret")
    process = start(**SMALL, **tls, CXR_MODEL=str(tiny_bundle))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot be used" in errors


def encrypt(key: Path, password: bytes) -> None:
    from cryptography.hazmat.primitives import serialization

    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password),
        )
    )


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_tls_is_spoken_to_who_trusts_the_certificate_and_nothing_else_is(
    tiny_bundle: Path, tls: dict[str, str], authority: trustme.CA, png: bytes, tmp_path: Path
) -> None:
    encrypt(Path(tls["CXR_TLS_KEY"]), b"secret")
    password = tmp_path / "password"
    password.write_text("secret\n")
    settings = {**tls, "CXR_TLS_KEY_PASSWORD_FILE": str(password)}
    with served(tiny_bundle, **settings, CXR_API_KEYS=str(LINE)) as running:
        url = f"https://localhost:{running.port}"
        with httpx2.Client(base_url=url, verify=trusting(authority), timeout=20) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200)
            assert client.post("/localize", content=png).status_code == 401
            response = client.post("/localize", content=png, headers=BEARER)
            assert response.status_code == 200
            assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
        with httpx2.Client(base_url=url) as client, pytest.raises(httpx2.ConnectError):
            client.get("/readyz")
        with (
            httpx2.Client(base_url=url.replace("https", "http")) as client,
            pytest.raises(httpx2.RemoteProtocolError),
        ):
            client.get("/readyz")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert handshake(running, authority, version) == version


def handshake(running: Running, authority: trustme.CA, version: ssl.TLSVersion) -> ssl.TLSVersion:
    context = trusting(authority)
    context.minimum_version = context.maximum_version = version
    with connect(running) as plain, context.wrap_socket(plain, server_hostname="localhost") as tls:
        return ssl.TLSVersion[(tls.version() or "").replace(".", "_")]


def serial_number(running: Running, authority: trustme.CA) -> str:
    context = trusting(authority)
    with connect(running) as plain, context.wrap_socket(plain, server_hostname="localhost") as tls:
        certificate = tls.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


def test_a_renewed_certificate_is_shown_after_sighup_and_a_spoilt_one_is_not(
    tiny_bundle: Path, tls: dict[str, str], authority: trustme.CA
) -> None:
    chain, key = Path(tls["CXR_TLS_CERTIFICATE"]), Path(tls["CXR_TLS_KEY"])
    with served(tiny_bundle, **tls) as running:
        old = serial_number(running, authority)
        chain.write_bytes(authority.issue_cert("localhost").cert_chain_pems[0].bytes())
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: running.events("certificate refused; the old one stays") != [])
        assert serial_number(running, authority) == old
        renewed = authority.issue_cert("localhost")
        chain.write_bytes(renewed.cert_chain_pems[0].bytes())
        key.write_bytes(renewed.private_key_pem.bytes())
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: serial_number(running, authority) != old)


def test_metrics_may_have_a_port_of_their_own(tiny_bundle: Path, png: bytes) -> None:
    port = free_port()
    settings = {"CXR_METRICS_PORT": str(port), "CXR_METRICS_HOST": "127.0.0.1"}
    with served(tiny_bundle, **settings, CXR_API_KEYS=str(LINE)) as running:
        url = f"http://127.0.0.1:{port}"
        with client_of(running) as client, httpx2.Client(base_url=url, timeout=20) as scraper:
            wait_until(lambda: client.get("/readyz").status_code == 200)
            assert client.post("/localize", content=png, headers=BEARER).status_code == 200
            assert client.get("/metrics", headers=BEARER).status_code == 404
            scraped = scraper.get("/metrics")
            assert 'cxr_requests_total{outcome="answered"} 1.0' in scraped.text
            assert scraped.headers["Content-Type"].startswith("text/plain")
            assert scraper.post("/localize", content=png).status_code == 404
            assert scraper.get("/readyz").status_code == 404
        written = running.stop()
        assert running.process.returncode == 0
        assert '"drained"' in written
        assert '"level":"error"' not in written
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_port_for_metrics_that_is_taken_ends_the_start(tiny_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = start(**SMALL, CXR_MODEL=str(tiny_bundle), CXR_METRICS_PORT=port)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "CXR_METRICS_PORT" in errors
    assert len(errors.strip().splitlines()) == 1
