"""DICOM files that are refused, and what is never said of them."""

import contextlib
import logging
import resource
import struct
import threading
import time
import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
from dicom_files import (
    as_dicom,
    codes,
    installed,
    lut,
    ramp,
    read,
    refusal,
    to_bytes,
    with_syntax,
    without,
)
from pydicom import Dataset
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from localization.radiograph import Radiograph, RadiographRefused


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (without("PixelData"), "no-pixels"),
        (as_dicom(ramp(), 8, Modality="MG"), "modality"),
        (as_dicom(ramp(), 8, Modality=["CR", "CT"]), "modality"),
        (as_dicom(ramp(), 8, NumberOfFrames=2, PixelData=ramp().tobytes() * 2), "multi-frame"),
        (as_dicom(ramp(), 8, PhotometricInterpretation="RGB"), "photometric"),
        (as_dicom(ramp(), 8, PhotometricInterpretation="PALETTE COLOR"), "photometric"),
        (without("PhotometricInterpretation"), "photometric"),
        (as_dicom(ramp(), 8, Rows=40_000, Columns=40_000), "too-many-pixels"),
        (as_dicom(ramp(), 8, Rows=63), "too-small"),
        (as_dicom(ramp(), 8, Rows=0), "too-small"),
        (as_dicom(ramp(), 8, Rows=65), "truncated"),
        (as_dicom(ramp(), 8, BitsAllocated=16, BitsStored=12), "truncated"),
        (as_dicom(ramp(), 8, BitsAllocated=32, BitsStored=32), "bit-depth"),
        (without("Rows"), "broken"),
        (without("BitsStored"), "broken"),
        (as_dicom(ramp(16), 12, BitsAllocated=12), "broken"),
        (as_dicom(ramp(), 8, SamplesPerPixel=3, PixelData=ramp().tobytes() * 3), "broken"),
        (with_syntax(JPEGBaseline8Bit, b"\xff\xd8\xff no JPEG at all"), "broken"),
        (with_syntax(RLELossless, b"\0" * 80), "broken"),
    ],
)
def test_a_dicom_file_that_cannot_be_shown_is_refused_for_its_own_reason(
    dataset: Dataset, reason: str
) -> None:
    assert refusal(dataset).reason == reason


def test_refusals_name_what_was_found() -> None:
    assert "is MG;" in str(refusal(as_dicom(ramp(), 8, Modality="MG")))
    film = refusal(with_syntax(MPEG2MPML, b"any"))
    assert film.reason == "transfer-syntax"
    assert "MPEG2 Main Profile" in str(film)


def test_an_unknown_transfer_syntax_is_refused_and_not_quoted() -> None:
    unknown = refusal(with_syntax("1.2.3.4.5"))
    assert unknown.reason == "transfer-syntax"
    assert "1.2.3" not in str(unknown)


def test_a_name_in_place_of_the_modality_is_not_quoted() -> None:
    # Same length, so that the element's header stays right.
    scanned = as_dicom(
        ramp(height=256), 8, Modality="CRCRCRCRCRCRCR", SOPClassUID=SecondaryCaptureImageStorage
    )
    misfiled = to_bytes(scanned).replace(b"CRCRCRCRCRCRCR", b"NIGHTINGALE^FL")
    (doubt,) = read(misfiled).doubts
    assert doubt.code == "modality"
    assert "NIGHT" not in f"{doubt.sentence} {doubt.evidence}"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("emri_small.dcm", "modality"),
        ("MR_truncated.dcm", "truncated"),
        ("test-SR.dcm", "no-pixels"),
        ("rtplan.dcm", "no-pixels"),
        ("ExplVR_LitEndNoMeta.dcm", "no-pixels"),
        ("RG3_UNCR.dcm", "body-part"),
        ("nested_priv_SQ.dcm", "photometric"),
    ],
)
def test_what_else_a_hospital_sends_is_refused(name: str, reason: str) -> None:
    assert refusal(installed(name)).reason == reason


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("CT_small.dcm", "CT"),
        ("MR_small.dcm", "MR"),
        ("US1_UNCR.dcm", "US"),
        ("JPEG2000_UNC.dcm", "NM"),
        ("JPEG-LL.dcm", "NM"),
    ],
)
def test_another_modality_is_refused_by_its_name(name: str, modality: str) -> None:
    refused = refusal(installed(name))
    assert refused.reason == "modality"
    assert f"is {modality};" in str(refused)
    assert refused.evidence["modality"] == modality


def test_the_pixel_limit_is_inclusive() -> None:
    data = to_bytes(as_dicom(ramp(), 8))
    assert Radiograph.read(data, max_pixels=64 * 256).width == 256
    assert refusal(data, max_pixels=64 * 256 - 1).reason == "too-many-pixels"


def test_a_deflated_file_that_grows_without_end_is_refused() -> None:
    dataset = as_dicom(np.zeros((2000, 20_000), np.uint8), 8)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data = to_bytes(dataset)
    assert len(data) < 100_000
    assert refusal(data, max_pixels=10_000).reason == "too-many-pixels"


@pytest.mark.parametrize("kind", ["plain", "implicit", "deflated", "RLE"])
def test_a_file_cut_anywhere_is_refused_or_read_whole(kind: str) -> None:
    dataset = as_dicom(ramp(12), 12, WindowCenter=2000, WindowWidth=1000)
    if kind == "RLE":
        dataset.compress(RLELossless)
    elif kind != "plain":
        dataset.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if kind == "implicit" else DeflatedExplicitVRLittleEndian
        )
    data = to_bytes(dataset)
    whole = Radiograph.read(data).pixels
    in_header = range(130, min(1000, len(data)), 9)
    anywhere = np.linspace(1, len(data) - 1, 50, dtype=int)
    for end in [*in_header, *anywhere]:
        try:
            pixels = Radiograph.read(data[:end]).pixels
        except RadiographRefused:
            continue
        np.testing.assert_array_equal(pixels, whole)
    assert refusal(data[: len(data) - 40]).reason == "truncated"


def test_flipped_bytes_raise_nothing_but_refusals() -> None:
    data = to_bytes(
        as_dicom(
            ramp(12),
            12,
            RescaleSlope=1,
            RescaleIntercept=0,
            VOILUTSequence=[lut((4, 0, 16), [0, 1365, 2730, 4095])],
        )
    )
    header = len(data) - ramp(12).nbytes
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for place in random.integers(132, header, size=2):
            damaged[place] = random.integers(256)
        try:
            Radiograph.read(bytes(damaged))
        except RadiographRefused:
            continue


class Records(logging.Handler):
    """What a service's own log would get. (caplog listens where records do not arrive, too.)"""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def test_pydicoms_complaints_reach_neither_warnings_nor_logs(
    capfd: pytest.CaptureFixture[str],
) -> None:
    # A value that pydicom quotes in a warning, and an end of which it warns and logs.
    window = to_bytes(as_dicom(ramp(), 8, WindowCenter="128.000", WindowWidth="256"))
    quoted = window.replace(b"128.000 ", b"Nighting")
    assert quoted != window
    cut = to_bytes(with_syntax(JPEGBaseline8Bit, b"\xff\xd8\xff"))[:-8]
    log = Records()
    logging.getLogger().addHandler(log)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert "window-replaced" in codes(quoted)
            assert refusal(cut).reason == "truncated"
    finally:
        logging.getLogger().removeHandler(log)
    assert not caught
    assert not log.messages
    assert "".join(capfd.readouterr()) == ""


def test_threads_that_read_together_leave_the_warning_filters_as_they_were() -> None:
    data = to_bytes(as_dicom(ramp(), 8))
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [Radiograph.read(data) for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    "first", [b"", b"\x08\x00", b"\x00\x08", b"\x02\x00", b"\x08\x00\x05\x00CS"]
)
def test_random_bytes_are_no_dicom_file(first: bytes) -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        assert refusal(first + random.bytes(2000)).reason == "unsupported-format"


def test_a_codestream_larger_than_its_header_is_not_decoded() -> None:
    """Which would take gigabytes: each codestream is small and asks for 65,000 x 65,000 pixels."""
    gray = ramp(8)
    large = np.zeros((64, 256), np.uint8)
    jpeg = imagecodecs.jpeg8_encode(large)
    jpeg_ls = imagecodecs.jpegls_encode(large)
    j2k = imagecodecs.jpeg2k_encode(large, codecformat="j2k")
    for syntax, codestream, size in (
        (JPEGBaseline8Bit, jpeg, struct.pack(">HH", 64, 256)),
        (JPEGLSLossless, jpeg_ls, struct.pack(">HH", 64, 256)),
        (JPEG2000Lossless, j2k, struct.pack(">II", 256, 64)),
        (HTJ2KLossless, j2k, struct.pack(">II", 256, 64)),
    ):
        assert Radiograph.read(to_bytes(with_syntax(syntax, codestream))).pixels.shape == gray.shape
        wrong = b"\xff\xdc" * 2 if len(size) == 4 else struct.pack(">II", 65_000, 65_000)
        assert size in codestream
        lying = codestream.replace(size, wrong)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert refusal(with_syntax(syntax, lying)).reason == "broken"
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize(
    "lie", [b"ISO_IR 999", b"\xff\xfe\x80\x81", b"ISO 2022 IR 999\\ISO 2022 IR 87", b"zlib"]
)
def test_a_broken_character_set_fails_no_pixels(lie: bytes) -> None:
    dataset = as_dicom(ramp(), 8, SpecificCharacterSet="X" * len(lie), BodyPartExamined="CHEST")
    data = to_bytes(dataset).replace(b"X" * len(lie), lie)
    assert lie in data
    np.testing.assert_array_equal(Radiograph.read(data).pixels, ramp())


def test_a_deflated_file_does_not_hide_behind_an_implicit_meta_header() -> None:
    """Against the standard, which pydicom reads all the same."""
    uid = b"1.2.840.10008.1.2.1.99"
    meta = b"\x02\x00\x10\x00" + struct.pack("<I", len(uid)) + uid
    squeezed = zlib.compressobj(wbits=-15)
    body = squeezed.compress(bytes(200_000_000)) + squeezed.flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal(bytes(128) + b"DICM" + meta + body, max_pixels=10_000).reason in (
        "too-many-pixels",
        "broken",
    )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_million_windows_take_no_time() -> None:

    useless = as_dicom(ramp(12), 12, WindowCenter=[90_000] * 50_000, WindowWidth=[1] * 50_000)
    useless.AnatomicRegionSequence = [Dataset() for _ in range(5000)]
    data = to_bytes(useless)
    start = time.perf_counter()
    assert "window-replaced" in codes(data)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("name", ["SMITH", "Smith"])
def test_what_looks_like_a_modality_and_is_none_is_not_quoted(name: str) -> None:
    scanned = as_dicom(ramp(height=256), 8, Modality=name, SOPClassUID=SecondaryCaptureImageStorage)
    (doubt,) = read(scanned).doubts
    assert doubt.code == "modality"
    assert "SMITH" not in f"{doubt.sentence} {doubt.evidence}".upper()


@pytest.mark.parametrize(("said", "told"), [("18670403", "more than 999"), ("12", 12)])
def test_a_number_of_frames_that_may_be_a_date_is_not_quoted(said: str, told: int | str) -> None:
    refused = refusal(as_dicom(ramp(), 8, NumberOfFrames=said))
    assert refused.reason == "multi-frame"
    assert f"holds {told} frames" in str(refused)
    assert refused.evidence["frames"] == told


def test_a_number_of_bits_that_may_be_a_date_is_not_quoted() -> None:
    dataset = as_dicom(ramp(), 8)
    dataset.add_new("BitsStored", "IS", "18670403")
    refused = refusal(dataset)
    assert refused.reason == "bit-depth"
    assert "1867" not in f"{refused} {refused.evidence}"


def _item(content: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(content)) + content


HEADER = to_bytes(without("PixelData"))
MANY = 8_000_000
EMPTY_ITEMS = b"\xfe\xff\x00\xe0\x00\x00\x00\x00" * (MANY // 8)


@pytest.mark.parametrize(
    "data",
    [
        HEADER + bytes(MANY),
        HEADER + b"\x28\x00\x00\x30SQ\x00\x00\xff\xff\xff\xff" + _item(bytes(MANY)),
        HEADER + b"\x28\x00\x00\x30SQ\x00\x00\xff\xff\xff\xff" + EMPTY_ITEMS,
        HEADER[:132] + b"\x02\x00\x02\x01UN\x00\x00\x00\x00\x00\x00" * (MANY // 12) + HEADER[132:],
        to_bytes(as_dicom(ramp(), 8, VOILUTSequence=[])).replace(
            b"\x28\x00\x10\x30SQ\x00\x00\x00\x00\x00\x00",
            b"\x28\x00\x10\x30SQ\x00\x00" + struct.pack("<I", MANY) + EMPTY_ITEMS,
        ),
        to_bytes(as_dicom(ramp(), 8, BodyPartExamined="CHEST")).replace(
            b"\x18\x00\x15\x00CS\x06\x00CHEST ",
            b"\x18\x00\x15\x00SQ\x00\x00" + struct.pack("<I", MANY) + EMPTY_ITEMS,
        ),
        to_bytes(as_dicom(ramp(), 8)).replace(
            b"\x28\x00\x10\x00US\x02\x00\x40\x00",
            b"\x28\x00\x10\x00SQ\x00\x00" + struct.pack("<I", MANY) + EMPTY_ITEMS,
        ),
    ],
    ids=["elements", "in an item", "items", "meta", "VOI LUTs", "a term", "Rows"],
)
def test_millions_of_empty_elements_take_no_time(data: bytes) -> None:
    """Of eight bytes each; parsed, they would take as many times ten microseconds."""
    assert len(data) > MANY
    start = time.process_time()
    with contextlib.suppress(RadiographRefused):
        Radiograph.read(data)
    assert time.process_time() - start < 2.5
