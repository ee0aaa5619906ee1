"""WebP files as `Radiograph.read` shows or refuses them."""

import pytest
from picture_helpers import assert_cut_is_noticed, assert_shown, encode, picture, refusal
from PIL import Image

STILL = encode(picture(), "WEBP", lossless=True)


def header(width: int, height: int) -> bytes:
    """A WebP that promises a canvas and holds nothing."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + (10).to_bytes(4, "little") + bytes(4) + size
    return b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk


def test_lossless_keeps_levels_and_lossy_almost() -> None:
    assert_shown(STILL, picture())
    assert_shown(encode(picture(), "WEBP", quality=95), picture(), within=4)


def test_an_animation_is_refused() -> None:
    second = Image.fromarray(255 - picture())
    data = encode(picture(), "WEBP", save_all=True, append_images=[second])
    assert refusal(data).reason == "animated"


@pytest.mark.parametrize(
    "data", [STILL, encode(picture(), "WEBP"), encode(picture(), "WEBP", exif=Image.Exif())]
)
def test_a_file_cut_anywhere_is_refused_or_read_whole(data: bytes) -> None:
    assert_cut_is_noticed(data)


def test_a_header_is_not_believed() -> None:
    assert refusal(header(16_000, 16_000)).reason == "too-many-pixels"
    assert refusal(header(96, 72)).reason == "broken"
    assert refusal(STILL[:20] + bytes(len(STILL) - 20)).reason == "broken"


def test_more_chunks_than_a_picture_has_are_not_walked_over() -> None:
    chunks = header(96, 72)[12:] + b"ABCD\0\0\0\0" * 1_000_000
    data = b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WEBP" + chunks
    assert refusal(data).reason == "broken"
