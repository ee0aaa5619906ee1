"""What the header of a compressed frame promises, before a decoder believes it.

Decoders make the picture that a codestream's own header asks for, whatever the DICOM header said.
So each is read first: the markers of JPEG (ITU-T T.81, B.2.2) and JPEG-LS (T.87, C.2.2), which are
alike, and those of JPEG 2000, which HTJ2K shares.
"""

import struct
from contextlib import suppress
from typing import NamedTuple

from localization.jpeg2000.boxes import first_codestream, read_boxes
from localization.jpeg2000.codestream import TooShort, check_codestream, read_size

# Start of frame, of JPEG's kinds and of JPEG-LS; C4, C8 and CC among them mean other things.
FRAME_MARKERS = (set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
# Markers that stand alone, without a length: TEM, RST0 to RST7 and SOI.
LONE_MARKERS = {0x01, *range(0xD0, 0xD9)}
SCAN_MARKERS = {0xD9, 0xDA}
"""End of image and start of scan: there the header has ended."""


class Promise(NamedTuple):
    """What a codestream's header says of its picture."""

    columns: int
    rows: int
    components: int
    precision: int
    """Bits a sample."""


def jpeg_promise(frame: bytes) -> Promise:
    """Of a JPEG or JPEG-LS codestream.

    Raises:
        ValueError: there is no frame header before the first scan.
    """
    if not frame.startswith(b"\xff\xd8"):
        raise ValueError("no start of image")
    place = 2
    while place + 4 <= len(frame):
        marker = frame[place + 1]
        if frame[place] != 0xFF:
            raise ValueError("no marker where one must be")
        if marker == 0xFF or marker in LONE_MARKERS:  # 0xFF: a fill byte
            place += 1 if marker == 0xFF else 2
            continue
        if marker in FRAME_MARKERS:
            precision, rows, columns, components = struct.unpack_from(">BHHB", frame, place + 4)
            return Promise(columns, rows, components, precision)
        if marker in SCAN_MARKERS:
            break
        place += 2 + int.from_bytes(frame[place + 2 : place + 4])
    raise ValueError("no frame header")


def j2k_promise(frame: bytes) -> Promise:
    """Of a JPEG 2000 or HTJ2K codestream, bare as DICOM wants it or in a JP2 file.

    Raises:
        ValueError: there is no codestream, or one whose headers would cost a decoder too much.
    """
    # A frame of an odd length is padded by a zero (PS3.5, A.4).
    code = first_codestream(read_boxes(frame.rstrip(b"\0")))
    size = read_size(code)
    with suppress(TooShort):  # There are no headers behind the end, and the decoder judges pixels.
        check_codestream(code, size)
    return Promise(size.width, size.height, len(size.bits), size.bits[0])
