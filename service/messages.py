"""Messages between the main process and its workers, pickled.

Tasks go through one socket that all workers read, each by the first that has time. What a worker
says comes through a socket of its own, each message after its length.
"""

import asyncio
import pickle
import socket
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any

LENGTH = Struct("!I")

MOST_AT_ONCE = 256 * 1024


def task_sockets() -> tuple[socket.socket, socket.socket]:
    """The end for the main process, and the one that all workers read."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


def hand_over(tasks: socket.socket, message: object, file: int) -> bool:
    """Send a task, with a file, for the first worker that has time; False where none has room."""
    try:
        socket.send_fds(tasks, [pickle.dumps(message)], [file])
    except BlockingIOError:
        return False
    return True


def take_over(tasks: socket.socket) -> tuple[Any, int]:
    """Wait for a task; its file is the caller's to close.

    Raises `EOFError`, or `OSError`, where the other end is closed.
    """
    data, files, *_ = socket.recv_fds(tasks, MOST_AT_ONCE, 1)
    if not data:
        raise EOFError
    return pickle.loads(data), files[0]


def send(pipe: socket.socket, message: object) -> None:
    """Send from a worker."""
    data = pickle.dumps(message)
    pipe.sendall(LENGTH.pack(len(data)) + data)


def receive(pipe: socket.socket) -> Any:
    """Wait for a message. Raises `EOFError`, or `OSError`, where the other end is closed."""
    return pickle.loads(_read(pipe, *LENGTH.unpack(_read(pipe, LENGTH.size))))


def _read(pipe: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = pipe.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


class Inbox:
    """What comes from a worker, beside everything else: the event loop listens all the while.

    Args:
        pipe: the worker's.
        take: is given each message.
        ended: is called when the other end is closed.
    """

    def __init__(
        self, pipe: socket.socket, take: Callable[[Any], None], ended: Callable[[], None]
    ) -> None:
        self._pipe = pipe
        self._take, self._ended = take, ended
        self._data = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(pipe, self._receive)

    def close(self) -> None:
        """Listen no more."""
        self._loop.remove_reader(self._pipe)

    def _receive(self) -> None:
        try:
            part = self._pipe.recv(MOST_AT_ONCE)
        except BlockingIOError:
            return  # It only seemed to have something.
        except OSError:
            part = b""
        if not part:
            self.close()
            self._ended()
            return
        self._data += part
        for message in self._messages():
            self._take(message)

    def _messages(self) -> Iterator[Any]:
        """Take each message of which all has come."""
        while len(self._data) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._data)[0]
            if len(self._data) < end:
                return
            try:
                with memoryview(self._data) as data:
                    message = pickle.loads(data[LENGTH.size : end])
            finally:
                del self._data[:end]
            yield message
