"""Whatever a file holds, it is read or refused for a reason that has a name, and tells no one."""

import io
import logging
import resource
import struct
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from dicom_parts import DicomParts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import (
    ABOUT_PIXELS,
    ABSURD,
    SYNTAXES,
    VRS,
    costly_coding,
    costly_frame,
    mutated,
)
from seeds import Seed, plant, seeds, told

from localization import Compute, Localizer, ModelBundle, Radiograph, RadiographRefused
from localization.gate import Policy
from localization.refusal import REASONS

FILES = 1000
POLICIES: tuple[Policy, ...] = ("refuse", "flag", "off")

# pydicom and Pillow warn of files; a service ignores it, and what they would say is looked at here.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def localizer(tiny_bundle: Path) -> Localizer:
    return Localizer(ModelBundle.load(tiny_bundle), Compute("cpu", threads=1))


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Iterator[io.StringIO]:
    """What is logged and warned of, which must not tell of a patient."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield log
    root.removeHandler(handler)
    root.setLevel(level)
    written = log.getvalue() + "".join(capfd.readouterr()) + "".join(str(one) for one in caught)
    assert not told(written.encode())


def outcome(data: bytes, localizer: Localizer, policy: Policy) -> str:
    """`localized`, or why not; fails where anything else is raised, or a patient is told of."""
    try:
        facts = localizer.localize(Radiograph.read(data, policy=policy), policy).radiograph
        reason, said = "localized", str(facts)
    except RadiographRefused as refused:
        reason, said = refused.reason, f"{refused} {refused.evidence}"
    assert reason in {"localized", *REASONS}
    assert not told(said.encode())
    return reason


def test_the_reasons_that_are_documented_are_those_that_are_read_and_localized_with() -> None:
    documented = f"{Radiograph.read.__doc__} {Localizer.localize.__doc__}"
    assert all(f"`{reason}`" in documented for reason in REASONS)


def test_files_to_begin_with_are_localized(localizer: Localizer) -> None:
    found = {seed.name: outcome(seed.data, localizer, "off") for seed in seeds() if seed.is_read}
    assert {name: one for name, one in found.items() if one != "localized"} == {}


def test_the_same_number_is_the_same_file() -> None:
    assert mutated(11) == mutated(11)
    assert mutated(11).data != mutated(11, series=1).data


def test_a_mutated_file_is_localized_or_refused(localizer: Localizer, said: io.StringIO) -> None:
    found: Counter[str] = Counter()
    for number in range(FILES):
        file = mutated(number)
        try:
            found[outcome(file.data, localizer, POLICIES[number % 3])] += 1
        except Exception as error:
            error.add_note(f"file {number}: {file.name}")
            raise
    # The mutations reach all of it, and leave something to localize.
    assert found["localized"] > FILES / 4
    assert len(found) > 12


@pytest.mark.parametrize("change", [costly_coding, costly_frame])
def test_a_costly_coding_style_costs_nothing(change: Callable[[Seed, Random], bytes]) -> None:
    seed = next(one for one in seeds() if one.name == "gray.jp2")
    for number in range(40):
        data = change(seed, Random(number))
        before = resource.getrusage(resource.RUSAGE_SELF)
        with suppress(RadiographRefused):
            Radiograph.read(data)
        after = resource.getrusage(resource.RUSAGE_SELF)
        assert after.ru_utime - before.ru_utime < 2
        assert after.ru_maxrss - before.ru_maxrss < 300_000  # KiB


VALUES = st.one_of(
    st.sampled_from(ABSURD),
    st.binary(max_size=40),
    st.integers(0, 2**16 - 1).map(lambda number: struct.pack("<H", number)),
    st.decimals(allow_nan=True, allow_infinity=True).map(lambda number: str(number).encode()[:16]),
    st.floats().map(lambda number: struct.pack("<d", number)),
)


@st.composite
def data_sets(draw: st.DrawFn) -> bytes:
    """A DX image of 1 to 16 bits whose other elements are anything, in any representation."""
    allocated = draw(st.sampled_from((8, 16, 16, 1, 12, 32)))
    stored = draw(st.integers(1, allocated))
    rows, columns = draw(st.integers(64, 80)), draw(st.integers(64, 80))
    parts = DicomParts([], [])
    parts.put_syntax(draw(st.sampled_from(SYNTAXES[:4])))
    plant(parts)
    parts.put("Modality", b"DX")
    photometric = draw(st.sampled_from((b"MONOCHROME1", b"MONOCHROME2")))
    parts.put("PhotometricInterpretation", photometric)
    for keyword, number in {
        "SamplesPerPixel": 1,
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": allocated,
        "BitsStored": stored,
        "HighBit": draw(st.sampled_from((stored - 1, allocated - 1))),
        "PixelRepresentation": draw(st.integers(0, 1)),
    }.items():
        parts.put(keyword, struct.pack("<H", number))
    values = draw(st.dictionaries(st.sampled_from(ABOUT_PIXELS), VALUES, max_size=6))
    for keyword, value in values.items():
        vr = draw(st.none() | st.sampled_from(VRS))
        parts.put(keyword, value, vr)
    seed = draw(st.integers(0, 2**32 - 1))
    grain = (seed * (i + 1) * 2654435761 >> 16 & 0xFF for i in range(rows * columns * 4))
    parts.put("PixelData", bytes(grain)[: rows * columns * allocated // 8 + 2], b"OW")
    return parts.written()


@given(data_sets(), st.sampled_from(POLICIES))
@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_a_data_set_of_anything_is_localized_or_refused(
    localizer: Localizer, data: bytes, policy: Policy
) -> None:
    outcome(data, localizer, policy)


@given(st.binary(max_size=400), st.sampled_from([one.data for one in seeds() if one.is_read]))
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_a_header_with_anything_behind_it_is_localized_or_refused(
    localizer: Localizer, tail: bytes, begun: bytes
) -> None:
    outcome(begun[:140] + tail, localizer, "off")
