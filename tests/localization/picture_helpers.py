"""A picture, files of it, and what becomes of a file: for the tests of every format."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from localization import Radiograph, RadiographRefused


def picture(height: int = 72, width: int = 96) -> NDArray[np.uint8]:
    """A smooth picture without symmetry, uint8 `[height, width]`, that uses 0 and 255."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = 2 * rows / height + np.sin(columns / 9) * 0.4 + np.cos((rows + columns) / 23)
    levels: NDArray[np.uint8]
    levels = np.rint(255 * (waves - waves.min()) / (waves.max() - waves.min())).astype(np.uint8)
    assert (levels.min(), levels.max()) == (0, 255)
    return levels


def encode(image: Image.Image | NDArray[Any], file_format: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file that Pillow writes."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    """The bytes of a TIFF file that tifffile writes, of more kinds than Pillow."""
    file = BytesIO()
    tifffile.imwrite(file, pixels, metadata=None, **options)
    return file.getvalue()


def refusal(data: bytes, **options: Any) -> RadiographRefused:
    with pytest.raises(RadiographRefused) as caught:
        Radiograph.read(data, **options)
    assert str(caught.value).endswith(".")
    return caught.value


def outcome(data: bytes) -> NDArray[np.uint8] | str:
    """The pixels, or the reason of the refusal."""
    try:
        return Radiograph.read(data).pixels
    except RadiographRefused as refused:
        return refused.reason


def as_palette(gray: NDArray[np.uint8]) -> Image.Image:
    """A palette image whose indices are not the levels that they stand for."""
    image = Image.fromarray(255 - gray)
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([level for index in range(256) for level in [255 - index] * 3])
    return image


DEEP = picture().astype(np.uint16) * 257
"""The same in 16 bits."""

COLOURED = np.stack([picture(), 255 - picture(), picture() // 2], axis=2)
"""As no radiograph is."""


def rgb(gray: NDArray[Any]) -> NDArray[Any]:
    """Gray in three channels, `[height, width, 3]`."""
    return np.stack([gray] * 3, axis=2)


def assert_shown(data: bytes, expected: NDArray[np.uint8], *, within: int = 0) -> Radiograph:
    """Assert that a file is read as these pixels, up to so many levels."""
    radiograph = Radiograph.read(data)
    assert radiograph.pixels.dtype == np.uint8
    assert radiograph.pixels.shape == expected.shape
    np.testing.assert_allclose(radiograph.pixels.astype(int), expected, atol=within)
    return radiograph


def assert_cut_is_noticed(data: bytes) -> None:
    """Assert that a file cut anywhere is refused as such, or read whole all the same."""
    whole = Radiograph.read(data).pixels
    reasons = set()
    for end in np.linspace(1, len(data) - 1, 100, dtype=int):
        result = outcome(data[:end])
        if isinstance(result, str):
            reasons.add(result)
        else:
            np.testing.assert_array_equal(result, whole)
    assert reasons <= {"truncated", "unsupported-format"}
    assert "truncated" in reasons
