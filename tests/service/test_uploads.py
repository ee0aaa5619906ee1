"""Uploads in shared memory: kept apart, and given back."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from service.uploads import KEPT_BYTES, Reader, Uploads


@pytest.fixture
def uploads() -> Iterator[Uploads]:
    uploads = Uploads(2 * KEPT_BYTES)
    yield uploads
    uploads.close()


def held(uploads: Uploads) -> int:
    """Bytes of memory, of whole pages."""
    return os.stat(uploads.file).st_blocks * 512


def test_uploads_of_a_time_lie_apart_where_any_process_reads_them(uploads: Uploads) -> None:
    with uploads.open() as first, uploads.open() as second:
        for upload, letter in ((first, b"a"), (second, b"b"), (first, b"c")):
            upload.write(letter * 100_000)
        reader = Reader(uploads.file)
        for upload in (first, second):
            assert reader.read(upload.offset, upload.length) == upload.read()
        assert first.read() == b"a" * 100_000 + b"c" * 100_000
        assert second.read() == b"b" * 100_000


def test_what_is_written_around_write_counts_once_it_is_said(uploads: Uploads) -> None:
    with uploads.open() as upload:
        upload.write(b"head ")
        upload.rest()[:4] = b"body"
        assert upload.read() == b"head "
        upload.length += 4
        assert upload.read() == b"head body"


def test_a_short_upload_after_a_long_one_is_alone(uploads: Uploads) -> None:
    with uploads.open() as upload:
        assert Reader(uploads.file).read(upload.offset, upload.length) == b""
        upload.write(b"long" * 1000)
    with uploads.open() as upload:
        upload.write(b"short")
        assert upload.read() == b"short"


def test_an_upload_that_a_worker_still_reads_is_not_the_next_one(uploads: Uploads) -> None:
    with uploads.open() as request:
        request.write(b"mine")
        work = request.__enter__()  # goes on when the request is gone
    with uploads.open() as other:
        other.write(b"theirs")
        assert work.read() == b"mine"
    work.__exit__()
    with uploads.open() as last:
        assert last is work


def test_memory_of_long_uploads_is_given_back(uploads: Uploads) -> None:
    half = bytes(KEPT_BYTES // 2)
    for _ in range(2):
        with uploads.open() as first, uploads.open() as second, uploads.open() as third:
            for upload in (first, second, third):
                upload.write(half)
            assert held(uploads) >= 3 * len(half)
        assert held(uploads) <= KEPT_BYTES
    with uploads.open() as upload:
        upload.write(bytes(KEPT_BYTES + 1))
    assert held(uploads) <= KEPT_BYTES


def test_memory_that_was_free_for_longest_is_given_back_first(uploads: Uploads) -> None:
    many, large = KEPT_BYTES // 2**20, bytes(KEPT_BYTES // 4)
    with ExitStack() as stack:
        for upload in [stack.enter_context(uploads.open()) for _ in range(many)]:
            upload.write(bytes(2**20))
    with uploads.open() as upload:
        upload.write(large)
    assert held(uploads) == KEPT_BYTES
    with uploads.open() as upload:
        assert upload.kept == len(large)


def test_an_upload_is_no_longer_than_was_said() -> None:
    uploads = Uploads(5000)  # whole pages: 8192
    with uploads.open() as upload, pytest.raises(IndexError):
        upload.write(bytes(8193))
    uploads.close()
