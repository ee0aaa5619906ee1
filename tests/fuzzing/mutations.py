"""Files that no one meant to send: file `number` of a series is the same on every machine."""

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dicom_parts import (
    UNDEFINED,
    DicomParts,
    Element,
    encapsulated,
    even,
    fragments,
    nested,
)
from jpeg2000_coding import SIDES, with_costly_coding
from picture_parts import parted
from pydicom import uid
from seeds import BORN, PATIENT, Kind, Seed, seeds

EXTREMES = (0, 1, 2, 63, 64, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000)
EXTREMES += (0xFFFFFFFE, 0xFFFFFFFF, 2**63, 2**64 - 1)

ABSURD = (
    b"", b" ", b"\0", b"-1", b"0", b"1e308", b"-1e308", b"1e-320", b"NaN", b"inf", b"-inf",
    b"9" * 40, b"0.0000001", b"1\\2\\3\\4", b"\\" * 8, b"\\".join([b"1"] * 5000), b"9" * 5000,
    b"\xff" * 64, b"\x80\xfe\xff", "Zürich ☃".encode(), "胸部".encode("shift_jis"), b"\x1b$B",
    b"ISO_IR 192", b"ISO 2022 IR 87\\ISO 2022 IR 149", b"ISO_IR 999", b"x" * 70_000,
    PATIENT.encode(), BORN.encode(), b"MONOCHROME1", b"MONOCHROME2", b"RGB", b"YBR_FULL",
    b"PALETTE COLOR", b"INVERSE", b"SIGMOID", b"LINEAR_EXACT", b"CT", b"CR", b"LATERAL", b"SKULL",
    b"000D", b"999Y", b"99991231", b"A\\F", b"R\\H", b"%s%n{}", b"<script>", b"'; --",
)  # fmt: skip

ABOUT_PIXELS = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames", "PlanarConfiguration",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "WindowCenter", "WindowWidth",
    "VOILUTFunction", "RescaleSlope", "RescaleIntercept", "PresentationLUTShape", "PixelSpacing",
    "PixelAspectRatio", "Modality", "BodyPartExamined", "ViewPosition", "PatientOrientation",
    "PatientAge", "PatientBirthDate", "StudyDate", "SpecificCharacterSet", "SOPClassUID",
    "ModalityLUTSequence", "VOILUTSequence", "AnatomicRegionSequence", "ViewCodeSequence",
    "SmallestImagePixelValue", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
)  # fmt: skip
"""Elements that this project or a decoder asks for."""

SYNTAXES = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian, uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLosslessSV1,
    uid.JPEGLSLossless, uid.JPEGLSNearLossless, uid.JPEG2000Lossless, uid.JPEG2000,
    uid.HTJ2KLossless, uid.RLELossless, uid.MPEG2MPML, "1.2.826.0.1.98765432123", "", "LINEAR",
)  # fmt: skip

VRS = (b"UN", b"OB", b"OW", b"SQ", b"DS", b"IS", b"US", b"SS", b"FD", b"AT", b"PN", b"LO", b"UT")
VRS += (b"DA", b"TM", b"UI", b"OF", b"UL", b"XX", b"\0\0")

LARGEST = 2_000_000
"""Bytes; a mutation that makes more of a file is cut there."""


@dataclass(frozen=True)
class Mutated:
    """A mutated file and how it was made."""

    number: int
    name: str
    kind: Kind
    data: bytes


def mutated(number: int, series: int = 0) -> Mutated:
    """File `number` of a series."""
    rng = random.Random(f"{series}/{number}")
    kind = rng.choice(("DICOM", "DICOM", "DICOM", "PNG", "JPEG", "JPEG 2000", "TIFF", "WebP"))
    is_read = kind != "DICOM" or rng.random() < 0.8
    seed = rng.choice([one for one in seeds() if one.kind == kind and one.is_read == is_read])
    data, names = seed.data, [seed.name]
    if rng.random() < 0.7:  # by its structure; by its bytes else, or as well
        change = rng.choice(OF_DICOM if seed.parts else OF_PICTURES)
        data = change(seed, rng)
        names.append(change.__name__)
    if len(names) == 1 or rng.random() < 0.2:
        for _ in range(rng.choice((1, 1, 2, 5))):
            alter = rng.choice(OF_BYTES)
            data = alter(data, rng)
            names.append(alter.__name__)
    return Mutated(number, " + ".join(names), kind, data[:LARGEST])


# Of bytes, whatever they are.


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    """Some bits, in the header or anywhere."""
    changed = bytearray(data)
    reach = rng.choice((256, 2048, len(data)))
    for _ in range(rng.choice((1, 3, 10, 100))):
        if changed:
            changed[rng.randrange(min(reach, len(changed)))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(data: bytes, rng: random.Random) -> bytes:
    """A range by noise or by one byte."""
    start, end = _range(data, rng)
    noise = rng.randbytes(end - start) if rng.random() < 0.5 else rng.randbytes(1) * (end - start)
    return data[:start] + noise + data[end:]


def cut_off(data: bytes, rng: random.Random) -> bytes:
    """All behind a place."""
    return data[: rng.randrange(len(data) + 1)]


def cut_out(data: bytes, rng: random.Random) -> bytes:
    """A range."""
    start, end = _range(data, rng)
    return data[:start] + data[end:]


def duplicate(data: bytes, rng: random.Random) -> bytes:
    """A range, once or many times."""
    start, end = _range(data, rng)
    times = min(rng.choice((1, 1, 10, 1000)), LARGEST // (end - start + 1))
    return data[:end] + data[start:end] * times + data[end:]


def insert(data: bytes, rng: random.Random) -> bytes:
    """Noise, or what looks like a marker."""
    place = rng.randrange(len(data) + 1)
    added = rng.choice((rng.randbytes(rng.randrange(40)), b"\xff\xd9", b"\xff\xd8\xff", b"DICM"))
    return data[:place] + added + data[place:]


def splice(data: bytes, rng: random.Random) -> bytes:
    """The end of another file."""
    other = rng.choice(seeds()).data
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def extreme_number(data: bytes, rng: random.Random) -> bytes:
    """A number in the header: a length, a size, an offset."""
    return _with_extreme(data, rng, 0, min(len(data), rng.choice((64, 512, 4096))))


def nothing(data: bytes, rng: random.Random) -> bytes:
    """As it is."""
    return data


OF_BYTES = (flip_bits, overwrite, cut_off, cut_out, duplicate, insert, splice, extreme_number)


def _range(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 4, 16, 256, 4096)))


def _with_extreme(data: bytes, rng: random.Random, start: int, end: int) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    if end - start < size:
        return data
    place = rng.randrange(start, end - size + 1)
    value = (rng.choice(EXTREMES) % 2 ** (8 * size)).to_bytes(size, rng.choice(("little", "big")))
    return data[:place] + value + data[place + size :]


# Of pictures: their parts, lengths and checksums being right.


def _of_parts(
    change: Callable[[list[bytes], int, random.Random], list[bytes]], seed: Seed, rng: random.Random
) -> bytes:
    taken = parted(seed.data, seed.kind)
    if taken is None:
        return extreme_number(seed.data, rng)
    return taken.whole(change(list(taken.parts), taken.header, rng))


def shuffle_parts(seed: Seed, rng: random.Random) -> bytes:
    """Two of them swapped, or all shuffled."""

    def change(parts: list[bytes], header: int, rng: random.Random) -> list[bytes]:
        if rng.random() < 0.5:
            return rng.sample(parts, len(parts))
        i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
        parts[i], parts[j] = parts[j], parts[i]
        return parts

    return _of_parts(change, seed, rng)


def repeat_part(seed: Seed, rng: random.Random) -> bytes:
    """One, once or many times, in its place or elsewhere."""

    def change(parts: list[bytes], header: int, rng: random.Random) -> list[bytes]:
        part, place = rng.choice(parts), rng.randrange(len(parts) + 1)
        return parts[:place] + [part] * rng.choice((1, 1, 2, 1500)) + parts[place:]

    return _of_parts(change, seed, rng)


def drop_part(seed: Seed, rng: random.Random) -> bytes:
    """One of them."""

    def change(parts: list[bytes], header: int, rng: random.Random) -> list[bytes]:
        del parts[rng.randrange(len(parts))]
        return parts

    return _of_parts(change, seed, rng)


def extreme_in_part(seed: Seed, rng: random.Random) -> bytes:
    """A number in the first bytes of one: dimensions, depths, counts, offsets."""

    def change(parts: list[bytes], header: int, rng: random.Random) -> list[bytes]:
        i = rng.choice((0, rng.randrange(len(parts))))
        parts[i] = _with_extreme(parts[i], rng, header, min(len(parts[i]), header + 40))
        return parts

    return _of_parts(change, seed, rng)


def damage_part(seed: Seed, rng: random.Random) -> bytes:
    """What one of them holds, or its name."""

    def change(parts: list[bytes], header: int, rng: random.Random) -> list[bytes]:
        i = rng.randrange(len(parts))
        start = rng.choice((0, header, header))
        alter = rng.choice((flip_bits, overwrite, cut_off, cut_out, duplicate, insert))
        parts[i] = parts[i][:start] + alter(parts[i][start:], rng)
        return parts

    return _of_parts(change, seed, rng)


def foreign_part(seed: Seed, rng: random.Random) -> bytes:
    """One of another file of its kind."""
    others = [parted(other.data, other.kind) for other in seeds() if other.kind == seed.kind]

    def change(parts: list[bytes], header: int, rng: random.Random) -> list[bytes]:
        other = rng.choice(others)
        if other is not None:
            parts.insert(rng.randrange(len(parts) + 1), rng.choice(other.parts))
        return parts

    return _of_parts(change, seed, rng)


def costly_coding(seed: Seed, rng: random.Random) -> bytes:
    """A JPEG 2000 whose precincts, code-blocks or layers are far too many."""
    if seed.kind != "JPEG 2000":
        return extreme_number(seed.data, rng)
    return with_costly_coding(seed.data, rng, rng.choice(SIDES))


OF_PICTURES = (
    shuffle_parts, repeat_part, drop_part, extreme_in_part, damage_part, foreign_part,
    costly_coding,
)  # fmt: skip


# Of DICOM files: their elements.


def _parts(seed: Seed) -> DicomParts:
    assert seed.parts is not None
    return seed.parts.copy()


def remove_elements(seed: Seed, rng: random.Random) -> bytes:
    """Some, of the data set or of the meta header."""
    parts = _parts(seed)
    elements = rng.choice((parts.elements, parts.elements, parts.meta))
    for _ in range(rng.choice((1, 1, 3, 10))):
        if elements:
            del elements[rng.randrange(len(elements))]
    return parts.written()


def duplicate_elements(seed: Seed, rng: random.Random) -> bytes:
    """One, beside itself or at the end, with its value or that of another one."""
    parts = _parts(seed)
    i, other = rng.randrange(len(parts.elements)), rng.choice(parts.elements)
    twin = parts.elements[i]
    twin = rng.choice((twin, replace(twin, value=other.value)))
    parts.elements.insert(rng.choice((i, len(parts.elements))), twin)
    return parts.written()


def move_elements(seed: Seed, rng: random.Random) -> bytes:
    """Out of the order of tags, or under another tag."""
    parts = _parts(seed)
    if rng.random() < 0.5:
        element = parts.elements.pop(rng.randrange(len(parts.elements)))
        parts.elements.insert(rng.randrange(len(parts.elements) + 1), element)
    else:
        i, other = rng.randrange(len(parts.elements)), rng.choice(parts.elements)
        parts.elements[i] = replace(parts.elements[i], tag=other.tag ^ rng.choice((0, 1, 0x10000)))
    return parts.written()


def retype_elements(seed: Seed, rng: random.Random) -> bytes:
    """Other value representations than their own."""
    parts = _parts(seed)
    for _ in range(rng.choice((1, 3))):
        i = _pick(parts, rng)
        parts.elements[i] = replace(parts.elements[i], vr=rng.choice(VRS))
    return parts.written()


def absurd_values(seed: Seed, rng: random.Random) -> bytes:
    """Values that make no sense, in elements that are there or were not."""
    parts = _parts(seed)
    for _ in range(rng.choice((1, 2, 5))):
        value = rng.choice((*ABSURD, rng.randbytes(8), struct.pack("<d", rng.uniform(-1e9, 1e9))))
        if rng.random() < 0.6:
            parts.put(rng.choice(ABOUT_PIXELS), value)
        else:
            i = rng.randrange(len(parts.elements))
            parts.elements[i] = replace(parts.elements[i], value=value)
    return parts.written()


def extreme_values(seed: Seed, rng: random.Random) -> bytes:
    """Numbers at the edge of their type: rows, columns, bits, windows."""
    parts = _parts(seed)
    for _ in range(rng.choice((1, 1, 2, 4))):
        keyword, number = rng.choice(ABOUT_PIXELS[:19]), rng.choice(EXTREMES)
        text = keyword.startswith(("Number", "Window", "Rescale"))
        value = str(number).encode() if text else struct.pack("<H", number & 0xFFFF)
        parts.put(keyword, value)
    return parts.written()


def wrong_lengths(seed: Seed, rng: random.Random) -> bytes:
    """A header that says another length than its value has."""
    parts = _parts(seed)
    i = _pick(parts, rng)
    true = len(parts.elements[i].value)
    length = rng.choice((*EXTREMES, true - 1, true + 1, true + 2, true * 2, max(0, true - 40)))
    parts.elements[i] = replace(parts.elements[i], length=length & 0xFFFFFFFF)
    return parts.written()


def swap_syntax(seed: Seed, rng: random.Random) -> bytes:
    """Another transfer syntax than that of the pixels."""
    parts = _parts(seed)
    parts.put_syntax(rng.choice(SYNTAXES))
    return parts.written()


def shuffle_fragments(seed: Seed, rng: random.Random) -> bytes:
    """The fragments of encapsulated pixels: another order, some missing, some altered."""
    parts = _parts(seed)
    while parts.elements[-1].length != UNDEFINED or not fragments(parts.elements[-1].value):
        parts = _parts(rng.choice([one for one in seeds() if one.parts and one.is_read]))
    element = parts.elements[-1]
    items = fragments(element.value)
    alter = rng.choice((*OF_BYTES, nothing))
    change = rng.choice(("shuffle", "drop", "alter", "many", "offsets"))
    if change == "shuffle":
        rng.shuffle(items)
    elif change == "drop":
        del items[rng.randrange(len(items))]
    elif change == "alter":
        k = rng.randrange(len(items))
        items[k] = alter(items[k], rng)[:LARGEST]
    elif change == "many":
        items += [rng.choice((b"", b"\xff\xd9", items[-1]))] * rng.choice(
            (10, 20_000 // len(items))
        )
        items = items[:2000]
    else:
        items[0] = struct.pack("<4I", *(rng.choice(EXTREMES) & 0xFFFFFFFF for _ in range(4)))
    parts.elements[-1] = replace(element, value=encapsulated(items))
    return parts.written()


def costly_frame(seed: Seed, rng: random.Random) -> bytes:
    """A JPEG 2000 or HTJ2K frame whose precincts, code-blocks or layers are far too many."""
    parts = _parts(rng.choice([one for one in seeds() if one.name in ("j2k.dcm", "htj2k.dcm")]))
    side = rng.choice(SIDES)
    frame = b"".join(fragments(parts.elements[-1].value)[1:])
    value = encapsulated([b"", even(with_costly_coding(frame, rng, side))])
    parts.elements[-1] = replace(parts.elements[-1], value=value)
    if side is not None:
        parts.put("Rows", struct.pack("<H", side))
        parts.put("Columns", struct.pack("<H", side))
    return parts.written()


def nest_sequences(seed: Seed, rng: random.Random) -> bytes:
    """A sequence in a sequence in a sequence, where one is asked for or where none belongs."""
    parts = _parts(seed)
    implicit = parts.syntax == uid.ImplicitVRLittleEndian
    patient = Element(0x00100010, b"PN", PATIENT.encode() + b" ").written(implicit)
    value = nested(rng.choice((1, 10, 100, 400, 2000)), patient, implicit)
    keyword = rng.choice(
        ("AnatomicRegionSequence", "VOILUTSequence", "ModalityLUTSequence", "Rows", "PatientName")
    )
    parts.put(keyword, value, b"SQ")
    i = next(i for i, one in enumerate(parts.elements) if one.value.startswith(value))
    length = rng.choice((None, UNDEFINED))
    parts.elements[i] = replace(parts.elements[i], value=value, length=length)
    return parts.written()


def lookup_tables(seed: Seed, rng: random.Random) -> bytes:
    """VOI or modality LUTs whose descriptor and data are anything."""
    parts = _parts(seed)
    implicit = parts.syntax == uid.ImplicitVRLittleEndian
    items = []
    for _ in range(rng.choice((1, 3, 50))):
        descriptor = struct.pack("<3H", *(rng.choice(EXTREMES) & 0xFFFF for _ in range(3)))
        entries = rng.randbytes(rng.choice((0, 1, 2, 255, 256, 512, 8192)))
        item = Element(0x00283002, rng.choice((b"US", b"SS")), descriptor).written(implicit)
        item += Element(0x00283006, rng.choice((b"US", b"OW")), entries).written(implicit)
        items.append(item)
    keyword = rng.choice(("VOILUTSequence", "ModalityLUTSequence"))
    parts.put(keyword, encapsulated(items), b"SQ")
    return parts.written()


def bare(seed: Seed, rng: random.Random) -> bytes:
    """Without preamble, without prefix, without meta header."""
    parts = _parts(seed)
    parts.prefix = rng.choice((b"", b"DICM", bytes(128), b"II*\0" + bytes(124) + b"DICM"))
    if rng.random() < 0.5:
        parts.meta = []
    return parts.written()


OF_DICOM: Sequence[Callable[[Seed, random.Random], bytes]] = (
    remove_elements, duplicate_elements, move_elements, retype_elements, absurd_values,
    absurd_values, extreme_values, wrong_lengths, swap_syntax, shuffle_fragments, shuffle_fragments,
    costly_frame, nest_sequences, lookup_tables, bare,
)  # fmt: skip


def _pick(parts: DicomParts, rng: random.Random) -> int:
    """The place of an element, of those that someone asks for more often than of others."""
    asked = [
        i for i, one in enumerate(parts.elements) if one.tag >> 16 in (0x0028, 0x7FE0)
    ]  # fmt: skip
    if asked and rng.random() < 0.6:
        return rng.choice(asked)
    return rng.randrange(len(parts.elements))
