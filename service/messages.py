"""Messages between the main process and a worker: pickled, after their length."""

import asyncio
import pickle
import socket
from struct import Struct
from typing import Any

LENGTH = Struct("!I")

MOST_AT_ONCE = 256 * 1024


def send(pipe: socket.socket, message: object) -> None:
    """Send from a worker."""
    pipe.sendall(_framed(message))


def receive(pipe: socket.socket) -> Any:
    """Wait for a message. Raises `EOFError`, or `OSError`, where the other end is closed."""
    return _rest(pipe, _read(pipe, LENGTH.size))


def receive_with_file(pipe: socket.socket) -> tuple[Any, int | None]:
    """Wait for a message; it may come with a file, which is the caller's to close."""
    head, files, *_ = socket.recv_fds(pipe, LENGTH.size, 1)
    return _rest(pipe, head), files[0] if files else None


def _framed(message: object) -> bytes:
    data = pickle.dumps(message)
    return LENGTH.pack(len(data)) + data


def _rest(pipe: socket.socket, head: bytes) -> Any:
    head += _read(pipe, LENGTH.size - len(head))
    return pickle.loads(_read(pipe, *LENGTH.unpack(head)))


def _read(pipe: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = pipe.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


async def send_soon(pipe: socket.socket, message: object, file: int | None) -> None:
    """Send to a worker without waiting in the event loop's way, with a file where it needs one."""
    data = _framed(message)
    sent = pipe.send(data) if file is None else socket.send_fds(pipe, [data], [file])
    if sent < len(data):
        await asyncio.get_running_loop().sock_sendall(pipe, data[sent:])


class Inbox:
    """What comes from a worker, one message at a time, beside everything else.

    The event loop watches the socket all the while: to begin and to end that for each message
    takes longer than to receive it.
    """

    def __init__(self, pipe: socket.socket) -> None:
        self._pipe = pipe
        self._loop = asyncio.get_running_loop()
        self._data = bytearray()
        self._next: asyncio.Future[Any] = self._loop.create_future()
        self._loop.add_reader(pipe, self._receive)

    def next(self) -> "asyncio.Future[Any]":
        """The message that is still to come; fails as `receive` does."""
        self._next = self._loop.create_future()
        return self._next

    def close(self) -> None:
        """Close the socket; what it may still say is no one's."""
        if self._pipe.fileno() >= 0:
            self._loop.remove_reader(self._pipe)
            self._pipe.close()

    def _receive(self) -> None:
        try:
            self._data += self._part()
            if (message := self._message()) is not None and not self._next.done():
                self._next.set_result(message)
        except BlockingIOError:
            pass  # It only seemed to have something.
        except Exception as error:
            self.close()
            if not self._next.done():
                self._next.set_exception(error)

    def _part(self) -> bytes:
        part = self._pipe.recv(MOST_AT_ONCE)
        if not part:
            raise EOFError
        return part

    def _message(self) -> Any:
        """Take the message, if all of it has come; None if not."""
        if len(self._data) < LENGTH.size:
            return None
        if len(self._data) < LENGTH.size + LENGTH.unpack_from(self._data)[0]:
            return None
        data, self._data = self._data, bytearray()
        return pickle.loads(memoryview(data)[LENGTH.size :])
