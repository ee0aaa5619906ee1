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
    data = pickle.dumps(message)
    pipe.sendall(LENGTH.pack(len(data)) + data)


def receive(pipe: socket.socket) -> Any:
    """Wait for a message. Raises `EOFError`, or `OSError`, where the other end is closed."""
    return pickle.loads(_read(pipe, *LENGTH.unpack(_read(pipe, LENGTH.size))))


def receive_with_file(pipe: socket.socket) -> tuple[Any, int]:
    """Wait for a message that comes with a file, which is the caller's to close."""
    head, files, *_ = socket.recv_fds(pipe, LENGTH.size, 1)
    if not files:
        raise EOFError
    return pickle.loads(_read(pipe, *LENGTH.unpack(head))), files[0]


def _read(pipe: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = pipe.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


async def send_with_file(pipe: socket.socket, message: object, file: int) -> None:
    """Send to a worker without waiting in the event loop's way."""
    data = pickle.dumps(message)
    data = LENGTH.pack(len(data)) + data
    sent = socket.send_fds(pipe, [data], [file])
    if sent < len(data):
        await asyncio.get_running_loop().sock_sendall(pipe, data[sent:])


async def receive_soon(pipe: socket.socket) -> Any:
    """Wait for a message beside everything else. Raises as `receive` does."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    length = LENGTH.size
    while len(data) < length:
        part = await loop.sock_recv(pipe, MOST_AT_ONCE)
        if not part:
            raise EOFError
        data += part
        if len(data) >= LENGTH.size:
            length = LENGTH.size + LENGTH.unpack_from(data)[0]
    return pickle.loads(memoryview(data)[LENGTH.size :])
