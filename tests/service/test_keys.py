"""API keys: made once, kept as hashes, and changed while the service runs."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.keys import KeyRing, make_key
from service.settings import Misconfigured


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def holder(ring: KeyRing, key: str) -> str | None:
    return ring.holder(key.encode())


def test_a_new_key_is_one_that_its_line_lets_in() -> None:
    key, line = make_key("viewer")
    assert str(line) == f"viewer:{hashlib.sha256(key.encode()).hexdigest()}"
    assert holder(KeyRing(str(line), None), key) == "viewer"
    assert key not in str(line)


def test_keys_do_not_come_twice_and_hold_256_bits() -> None:
    keys = {make_key("viewer")[0] for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key.removeprefix("cxr_")) == 43 for key in keys)  # base64 of 32 bytes


@pytest.mark.parametrize("name", ["", "a b", "a\nlevel=error", "a:b", "-a", "é", "a" * 65])
def test_a_name_that_would_spoil_a_log_or_a_file_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a key"):
        make_key(name)


def test_several_keys_come_from_the_environment_and_from_a_file(tmp_path: Path) -> None:
    made = {name: make_key(name) for name in ("one", "two", "three", "four")}
    file = tmp_path / "keys"
    file.write_text(f"# viewers\n\n{made['three'][1]}\n  {made['four'][1]}  \r\n")
    ring = KeyRing(f"{made['one'][1]}, {made['two'][1]}", file)
    assert ring.names == ["four", "one", "three", "two"]
    assert all(holder(ring, key) == name for name, (key, _) in made.items())


@pytest.mark.parametrize("wrong", ["", "cxr_", "é", "a" * 100_000])
def test_a_key_that_is_none_has_no_holder(wrong: str) -> None:
    ring = KeyRing(str(make_key("viewer")[1]), None)
    assert holder(ring, wrong) is None


def test_neither_hash_nor_name_is_a_key() -> None:
    line = str(make_key("viewer")[1])
    ring = KeyRing(line, None)
    assert [holder(ring, each) for each in (line, *line.split(":"))] == [None] * 3


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key, line: key,
        lambda key, line: f"viewer:{key}",
        lambda key, line: line[:-1],
        lambda key, line: line.partition(":")[2],
    ],
)
def test_an_entry_that_is_none_is_named_by_its_place_and_never_quoted(
    tmp_path: Path, spoil: Callable[[str, str], str]
) -> None:
    key, line = make_key("viewer")
    entry = spoil(key, str(line))
    file = tmp_path / "keys"
    file.write_text(f"# viewers\n{entry}\n")
    with pytest.raises(Misconfigured, match=r"line 2 of .*keys is not NAME:SHA256") as caught:
        KeyRing("", file)
    assert key not in str(caught.value)
    with pytest.raises(Misconfigured, match="entry 1 of CXR_API_KEYS"):
        KeyRing(entry, None)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="nowhere"):
        KeyRing("", tmp_path / "nowhere")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def replace(file: Path, text: str) -> None:
    """Write a file as an editor does: beside it, then in its place."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


def test_a_changed_file_is_read_again_a_second_later(tmp_path: Path, clock: Clock) -> None:
    (old, old_line), (new, new_line) = make_key("viewer"), make_key("viewer")
    file = tmp_path / "keys"
    file.write_text(f"{old_line}\n")
    ring = KeyRing("", file, clock)
    replace(file, f"{old_line}\n{new_line}\n")
    assert holder(ring, new) is None  # not looked at more often
    clock.now += 1
    assert holder(ring, new) == holder(ring, old) == "viewer"  # both, while it changes hands
    replace(file, f"{new_line}\n")
    clock.now += 1
    assert (holder(ring, old), holder(ring, new)) == (None, "viewer")


def test_a_reload_looks_at_once(tmp_path: Path, clock: Clock) -> None:
    (old, old_line), (new, new_line) = make_key("one"), make_key("two")
    file = tmp_path / "keys"
    file.write_text(str(old_line))
    ring = KeyRing("", file, clock)
    replace(file, str(new_line))
    ring.reload()
    assert (holder(ring, old), holder(ring, new)) == (None, "two")


def test_a_file_without_keys_lets_no_one_in(tmp_path: Path, clock: Clock) -> None:
    key, line = make_key("viewer")
    file = tmp_path / "keys"
    file.write_text(str(line))
    ring = KeyRing("", file, clock)
    replace(file, "# no one\n")
    clock.now += 1
    assert holder(ring, key) is None


def test_a_spoilt_file_leaves_the_old_keys_and_says_so_once(tmp_path: Path, clock: Clock) -> None:
    key, line = make_key("viewer")
    file = tmp_path / "keys"
    file.write_text(str(line))
    ring = KeyRing("", file, clock)
    with capture_logs() as lines:
        replace(file, f"viewer:{key}")
        for _ in range(3):
            clock.now += 1
            assert holder(ring, key) == "viewer"
        file.unlink()
        for _ in range(3):
            clock.now += 1
            assert holder(ring, key) == "viewer"
    assert [each["log_level"] for each in lines] == ["error", "error"]
    assert "line 1" in lines[0]["reason"]
    assert key not in str(lines)
