"""`boxes.csv`: the mined boxes in the form of ChestX-ray14's `BBox_List_2017.csv`.

One line per box: image, disease, then x, y, width and height in pixels of the radiograph. Diseases
have the names of `DISEASES`; the official list alone says `Infiltrate` for `Infiltration`.
"""

import csv
import io
from collections.abc import Iterator

from harvesting.coco import Mined

BOX_LIST = "boxes.csv"

HEADER = b"Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
"""The official one, which leaves three columns without a name."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", " ")
"""How a cell begins that a spreadsheet may compute."""


def box_list_chunks(mined: Mined) -> Iterator[bytes]:
    """The list, a shard at a time; the same rows give the same bytes."""
    yield HEADER
    for shard in mined.shards():
        text = io.StringIO()
        # All words in quotes: a spreadsheet may split lines at semicolons or tabs, too.
        lines = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        for finding in mined.findings(shard):
            for box in finding.boxes:
                place = (box.x, box.y, box.width, box.height)
                lines.writerow((inert(finding.path), finding.disease, *place))
        yield text.getvalue().encode()


def inert(path: str) -> str:
    """A path that no spreadsheet takes for a formula: `=1+1.png` is `./=1+1.png`, which names the
    same file, as an apostrophe before it would not."""
    return f"./{path}" if path.startswith(_FORMULA) else path
