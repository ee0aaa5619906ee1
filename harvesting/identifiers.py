"""Keyed hashes of a DICOM file's identifiers: equal for equal identifiers, useless without the key.

Nothing else of a header that names a person is read, and no identifier is ever written.
"""

import hashlib
import hmac
from pathlib import Path

from pydicom import Dataset
from pydicom.filereader import dcmread

from harvesting.rows import NOBODY, Patient
from localization.dicom.elements import BoundedBytes, require_short
from localization.dicom.silence import pydicom_silenced

KEYWORDS = ("PatientID", "StudyInstanceUID", "SOPInstanceUID")
"""Of which `Patient` holds the hashes, in its order."""

SHORTEST_KEY = 32
"""Characters: a key that can be guessed gives the identifiers away."""


class KeyRefused(ValueError):
    """A file that holds no key to join by."""


def read_key(file: Path) -> bytes:
    """The key in a file, without blanks around it.

    Raises:
        KeyRefused: it is too short.
        FileNotFoundError: there is no such file.
    """
    key = file.read_bytes().strip()
    if len(key) < SHORTEST_KEY:
        raise KeyRefused(
            f"{file} holds fewer than {SHORTEST_KEY} characters: make a key by "
            "`openssl rand -hex 32`."
        )
    return key


def fingerprint(key: bytes) -> str:
    """What tells keys apart without showing them."""
    return _hash(key, "cxr-localizer join key")[:16]


def hash_identifiers(data: bytes, key: bytes) -> Patient:
    """HMAC-SHA256 of a DICOM file's identifiers, in hex; None for each that it lacks.

    Args:
        data: a DICOM file that was read as a radiograph.
        key: of `read_key`.
    """
    preamble = data if data[128:132] == b"DICM" else data.removeprefix(b"DICM")
    try:
        with pydicom_silenced():
            header = dcmread(
                BoundedBytes(preamble),
                stop_before_pixels=True,
                force=True,
                specific_tags=[*KEYWORDS],
            )
            return Patient(*(_hashed(header, keyword, key) for keyword in KEYWORDS))
    except Exception:
        # pydicom raises anything of a broken element, and its messages may quote it.
        return NOBODY


def _hashed(header: Dataset, keyword: str, key: bytes) -> str | None:
    require_short(header, keyword)
    value = str(header.get(keyword) or "").strip()
    return _hash(key, value) if value else None


def _hash(key: bytes, value: str) -> str:
    return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()
