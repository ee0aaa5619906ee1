"""The load: callers that each keep one connection and ask again as soon as they may.

They are threads of one process that block in sockets and parse no more of an answer than its
status and length: the load shares the machine with what it measures.
"""

import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from benchmark.work import WARM_UP, Slice

TIMEOUT = struct.pack("ll", 300, 0)
"""Seconds and microseconds."""
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)

LOOK_SECONDS = 1.0
"""After how long who waits looks whether the time slice is over."""


@dataclass(frozen=True)
class Load:
    """A time slice to spend on sending one request over and over."""

    port: int
    request: bytes
    callers: int
    seconds: float
    patient: bool = True
    """Whether who is turned away waits for as long as `Retry-After` says, or the slice lasts."""


def request(data: bytes) -> bytes:
    """The whole request that has a radiograph localized."""
    head = (
        "POST /localize HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


class Caller:
    """One caller at a port of this machine."""

    def __init__(self, port: int, request: bytes) -> None:
        self._port, self._request = port, request
        self._buffer = bytearray(1 << 16)
        self.retry_after = 0
        """Seconds, as the last answer says; 0 where it names none."""
        self._connection = self._connect()

    def ask(self) -> int:
        """Send the request and read the whole answer; its status, 0 if the connection broke."""
        self.retry_after = 0
        try:
            self._connection.sendall(self._request)
            return self._read_answer()
        except ConnectionError:
            self._reconnect()
            return 0

    def localize(self) -> None:
        """Ask, and raise `RuntimeError` where the answer is not a localization."""
        if (status := self.ask()) != 200:
            raise RuntimeError(f"the service answers {status}")

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel's own limits: by Python's, every part that is sent or read is polled for.
        for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, limit, TIMEOUT)
        return connection

    def _reconnect(self) -> None:
        self.close()
        self._connection = self._connect()

    def _read_answer(self) -> int:
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            count = self._receive()
            received += self._buffer[:count]
        head = received[:end]
        if retry_after := RETRY_AFTER.search(head):
            self.retry_after = int(retry_after[1])
        length = LENGTH.search(head)
        missing = end + 4 + (int(length[1]) if length else 0) - len(received)
        while missing > 0:
            missing -= self._receive()
        if CLOSES.search(head):
            self._reconnect()
        return int(head.split(b" ", 2)[1])

    def _receive(self) -> int:
        count = self._connection.recv_into(self._buffer)
        if count == 0:
            raise ConnectionResetError("hung up")
        return count


def generator() -> Callable[[Load], Slice]:
    """Spends slices on sending."""
    return send


def send(load: Load) -> Slice:
    """Have the callers ask for a time slice, after a warm-up without a pause between the two.

    The slice opens when every caller has had an answer. Answers that end in it count.
    """
    window = _Window(load)
    cpu = time.process_time()
    with ThreadPoolExecutor(load.callers) as pool:
        results = [pool.submit(_call, load, window) for _ in range(load.callers)]
    answers = [answer for result in results for answer in result.result()]
    spent = Slice(load.seconds, generator=(time.process_time() - cpu) / len(answers))
    for answer in answers:
        if not window.opens <= answer.ended <= window.closes:
            continue
        if answer.status == 200:
            spent.latencies.append(answer.ended - answer.begun)
        else:
            spent.others[answer.status] += 1
    return spent


@dataclass(frozen=True, slots=True)
class _Answer:
    begun: float
    ended: float
    status: int


@dataclass
class _Window:
    """The time slice; it opens once all callers are warm."""

    load: Load
    opens: float = float("inf")
    _cold: int = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._cold = self.load.callers
        self._earliest = time.perf_counter() + self.load.seconds * WARM_UP

    @property
    def closes(self) -> float:
        return self.opens + self.load.seconds

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, or soon after the window has closed."""
        end = time.perf_counter() + seconds
        while (left := min(end, self.closes) - time.perf_counter()) > 0:
            time.sleep(min(left, LOOK_SECONDS))

    def warm(self) -> None:
        """Say that one more caller has had an answer."""
        with self._lock:
            self._cold -= 1
            if self._cold == 0:
                self.opens = max(time.perf_counter(), self._earliest)


def _call(load: Load, window: _Window) -> list[_Answer]:
    caller = Caller(load.port, load.request)
    answers: list[_Answer] = []
    while (begun := time.perf_counter()) < window.closes:
        status = caller.ask()
        answers.append(_Answer(begun, time.perf_counter(), status))
        if len(answers) == 1:
            window.warm()
        if load.patient:
            window.wait(caller.retry_after)
    caller.close()
    return answers
