"""DICOM radiographs, shown as their own elements say they are to be shown."""

import logging
import re
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing
from pydicom.pixels.utils import pixel_array
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from localization.levels import to_levels
from localization.refusal import RadiographRefused, check_size

MODALITIES = ("CR", "DX", "DR", "RG")
"""Projection radiography: computed, digital (two names) and scanned film."""

PIXEL_DATA = 0x7FE00010

# pydicom's log lines quote the values that they complain of, a patient's name among them, so none
# may reach the handlers of whoever uses us. What is attached to this logger itself still gets all.
logging.getLogger("pydicom").propagate = False


def read_dicom(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Read a DICOM radiograph of one frame and show it.

    The order is the standard's (PS3.4 N.2): stored values, Modality LUT or rescale, VOI LUT or
    first window, levels; MONOCHROME1 is inverted. Without VOI LUT and window, the picture runs
    linearly from its darkest to its brightest pixel.

    Args:
        data: the whole file, from the preamble on.
        max_pixels: the most pixels (Rows x Columns) that are decoded.

    Returns:
        uint8 `[rows, columns]` in [0, 255], bright where the body is dense.

    Raises:
        RadiographRefused: see `Radiograph.read`.
    """
    try:
        with _silence():
            dataset = _parse(data, max_pixels)
            _check_kind(dataset)
            check_size(int(dataset.Columns), int(dataset.Rows), max_pixels)
            _check_decodable(dataset)
            return _show(dataset, _stored_values(dataset))
    except (RadiographRefused, MemoryError):
        raise
    except Exception:
        # pydicom lets through whatever its parsers and decoders raise. Its messages may quote
        # the file, hence no chain.
        raise RadiographRefused(
            "broken", "The DICOM file cannot be read; export it again and send the new file."
        ) from None


class _Silence:
    """How many threads want pydicom's warnings silenced, and the filters from before."""

    lock = threading.Lock()
    readers = 0
    before = warnings.catch_warnings()


@contextmanager
def _silence() -> Iterator[None]:
    """Ignore pydicom's warnings, which quote values of the file, while any thread reads.

    Python 3.11 keeps one list of filters for all threads. So the first to come sets it and the
    last to go restores it: `catch_warnings` in each thread would restore another's state.
    """
    with _Silence.lock:
        if _Silence.readers == 0:
            _Silence.before = warnings.catch_warnings()
            _Silence.before.__enter__()
            warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
        _Silence.readers += 1
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.readers -= 1
            if _Silence.readers == 0:
                _Silence.before.__exit__(None, None, None)


def _parse(data: bytes, max_pixels: int) -> Dataset:
    """Parse the elements of a file; refuses one that has no pixel data, or not all of it."""
    _check_inflated_size(data, max_pixels)
    began = False

    def watch(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal began
        began = began or tag == PIXEL_DATA
        return False

    # What pydicom.dcmread does, plus a look at each element of the top level: of an element that
    # the file's end cuts off, pydicom says nothing and leaves it out or short.
    dataset = read_partial(BytesIO(data), stop_when=watch)
    element = dataset.get_item(PIXEL_DATA)
    value = element.value if element is not None else None
    if began and (element is None or len(value or b"") < _declared_length(element)):
        raise _truncated()
    if not value:
        raise RadiographRefused(
            "no-pixels", "The DICOM file holds no image; send the object that holds the pixels."
        )
    return dataset


def _declared_length(element: Any) -> int:
    """Bytes that an element's header promises; 0 where it promises none, being delimited."""
    length = int(getattr(element, "length", 0))
    return 0 if length == 0xFFFFFFFF else length


def _truncated() -> RadiographRefused:
    return RadiographRefused(
        "truncated", "The DICOM file ends before its last pixel; send the whole file."
    )


def _check_inflated_size(data: bytes, max_pixels: int) -> None:
    """Refuse a deflated file that grows beyond any radiograph; pydicom would inflate it all."""
    file = BytesIO(data)
    file.seek(132)
    meta = read_dataset(
        file,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag >> 16 != 2,
    )
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    # At most 4 bytes a pixel, and room for other elements.
    inflater.decompress(data[file.tell() :], 4 * max_pixels + 2**24)
    if inflater.unconsumed_tail:
        raise RadiographRefused(
            "too-many-pixels",
            "The deflated DICOM file grows beyond the size of a radiograph; send it undeflated "
            "or at a lower resolution.",
        )
    if not inflater.eof:
        raise _truncated()


def _check_kind(dataset: Dataset) -> None:
    """Refuse what is not one gray frame of projection radiography."""
    modality = str(dataset.get("Modality") or "")
    if modality not in MODALITIES:
        # Modality is mandatory (PS3.3 C.7.3.1). Taking a file without it for a radiograph would
        # be a guess. Only what looks like a modality is quoted: a misfilled one might be a name.
        looks_right = re.fullmatch("[A-Z]{2,8}", modality)
        named = modality if looks_right else "not a known one" if modality else "not given"
        raise RadiographRefused(
            "modality",
            f"The DICOM file's modality is {named}; send a radiograph ({', '.join(MODALITIES)}).",
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise RadiographRefused(
            "multi-frame", f"The DICOM file holds {frames} frames; send one radiograph."
        )
    if dataset.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise RadiographRefused(
            "photometric",
            "The DICOM file's image is not gray: its photometric interpretation must be "
            "MONOCHROME1 or MONOCHROME2.",
        )


def _check_decodable(dataset: Dataset) -> None:
    """Refuse encodings that no installed decoder reads, and pixels of more than 16 bits."""
    syntax = UID(dataset.file_meta.get("TransferSyntaxUID") or "")
    if not _has_decoder(syntax):
        # A UID that pydicom knows has a name; of others nothing is quoted.
        known = syntax.name != syntax
        named = syntax.name if known else "not a known one" if syntax else "not given"
        raise RadiographRefused(
            "transfer-syntax",
            f"The DICOM file's transfer syntax is {named}, and no installed decoder reads it; "
            "send it as Explicit VR Little Endian.",
        )
    bits = int(dataset.BitsStored)
    if not 1 <= bits <= 16:
        raise RadiographRefused(
            "bit-depth", f"The DICOM file stores {bits} bits a pixel; 1 to 16 are read."
        )
    needed = (int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) + 7) // 8
    if not syntax.is_encapsulated and len(dataset.PixelData) < needed:
        raise _truncated()


def _has_decoder(syntax: UID) -> bool:
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _stored_values(dataset: Dataset) -> NDArray[np.uint16] | NDArray[np.int16]:
    """Decode the stored pixel values, `[rows, columns]`, free of bits that are not theirs."""
    stored = pixel_array(dataset, index=0)
    if stored.shape != (dataset.Rows, dataset.Columns):
        raise ValueError("not one sample a pixel")
    # 16 bits hold whatever _check_decodable let through, and make one table serve all.
    if dataset.PixelRepresentation:
        return stored.astype(np.int16, copy=False)
    return stored.astype(np.uint16, copy=False)


def _show(dataset: Dataset, stored: NDArray[np.uint16] | NDArray[np.int16]) -> NDArray[np.uint8]:
    """The levels that a screen shows for stored values.

    The pipeline runs once over each value that 16 bits can have, not over each pixel: pydicom
    computes in float64, in which an image of 50 million pixels would fill gigabytes.
    """
    every = np.arange(2**16, dtype=np.uint16).view(stored.dtype)
    in_use = (every >= stored.min()) & (every <= stored.max())
    levels = _voi_levels(dataset, _modality_values(dataset, every.astype(np.int32)), in_use)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        levels = 255 - levels
    return np.asarray(cv2.LUT(stored.view(np.uint16), levels), dtype=np.uint8)


def _modality_values(dataset: Dataset, stored: NDArray[np.int32]) -> NDArray[Any]:
    """Stored values through the Modality LUT or rescale (PS3.3 C.11.1), where there is one."""
    if dataset.get("ModalityLUTSequence") or _have_values(
        dataset, "RescaleSlope", "RescaleIntercept"
    ):
        return apply_modality_lut(stored, dataset)
    return stored


def _voi_levels(
    dataset: Dataset, values: NDArray[Any], in_use: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Modality values through the VOI LUT, else the window, else the range in use, to levels."""
    if dataset.get("VOILUTSequence"):
        return _voi_lut_levels(dataset, values)
    if _have_values(dataset, "WindowCenter", "WindowWidth"):
        return _window_levels(dataset, values)
    return to_levels(values, values[in_use].min(), values[in_use].max())


def _voi_lut_levels(dataset: Dataset, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values through the first VOI LUT (PS3.3 C.11.2.1.1), its lowest entry black.

    The range is that of the entries, not of the bits they claim: many files write 12-bit entries
    and call them 16-bit.
    """
    entries, first = map(int, dataset.VOILUTSequence[0].LUTDescriptor[:2])
    entries = entries or 2**16
    # pydicom is asked for the table alone: it would wrap values beyond 16 bits.
    table = apply_voi(np.arange(first, first + entries), dataset)
    levels = to_levels(table, int(table.min()), int(table.max()))
    index = np.clip(np.rint(values) - first, 0, entries - 1).astype(np.int64)
    shown: NDArray[np.uint8] = levels[index]
    return shown


def _window_levels(dataset: Dataset, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values through the first window by its VOI LUT Function (PS3.3 C.11.2.1.2 and .3)."""
    # pydicom spreads a window over the range of the stored bits, before or after a rescale as
    # the elements say. A data set that says 8 bits and no rescale gets levels at once.
    screen = Dataset()
    for keyword in ("PhotometricInterpretation", "WindowCenter", "WindowWidth", "VOILUTFunction"):
        if _have_values(dataset, keyword):
            screen.add(dataset[keyword])
    screen.BitsStored = 8
    screen.PixelRepresentation = 0
    try:
        with np.errstate(over="ignore"):
            levels = apply_windowing(values, screen)
        if not np.isfinite(levels).all():
            raise ValueError("a window of no finite numbers")
    except (TypeError, ValueError):
        raise RadiographRefused(
            "window",
            "The DICOM file's display window (Window Center, Window Width, VOI LUT Function) is "
            "not valid; correct or remove it.",
        ) from None
    return to_levels(levels, 0, 255)


def _have_values(dataset: Dataset, *keywords: str) -> bool:
    """Whether each element is there and not empty, as optional elements often are."""
    return all(dataset.get(keyword) not in (None, "") for keyword in keywords)
