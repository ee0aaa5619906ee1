"""`coco.json`: the mined boxes in COCO's data format for object detection.

It is what pycocotools, CVAT ("COCO 1.0") and Label Studio's converter read. `segmentation` is there
and empty, by which CVAT tells a rectangle from a polygon; `score`, which COCO has in results only,
makes the same annotations a list of detections, and `attributes` are CVAT's extension.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import orjson

from harvesting.rows import FindingRow, RadiographRow
from harvesting.run import Run
from localization import DISEASES, Box

COCO = "coco.json"

CATEGORIES = {disease: number for number, disease in enumerate(DISEASES, start=1)}
"""Ids: CVAT keeps 0 for no category."""


class Mined(Protocol):
    """What is exported: a `Dataset`, or its like, shard by shard."""

    @property
    def run(self) -> Run:
        """What the harvest was."""

    def shards(self) -> Iterable[int]:
        """The numbers of all shards."""

    def radiographs(self, shard: int) -> list[RadiographRow]:
        """A shard's files."""

    def findings(self, shard: int) -> list[FindingRow]:
        """What was mined in them, in their order."""


def coco_chunks(mined: Mined) -> Iterator[bytes]:
    """The document, piece by piece; the same rows give the same bytes.

    Images are the localized radiographs, numbered from 1 in the archive's order. Shards are read
    twice, one at a time: first for the images, then for their boxes.
    """
    yield b'{"info":' + orjson.dumps(_info(mined.run)) + b',\n"licenses":[],\n"images":['
    yield from _array(_images(mined))
    yield b'],\n"categories":' + orjson.dumps(_categories()) + b',\n"annotations":['
    yield from _array(_annotations(mined))
    yield b"]}\n"


def _array(items: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    before = b"\n"
    for item in items:
        yield before + orjson.dumps(item)
        before = b",\n"


def _info(run: Run) -> dict[str, str]:
    return {
        "description": f"Localizations mined by {run.model.name}; no person drew them",
        "version": run.model.version,
    }


def _categories() -> list[dict[str, Any]]:
    return [{"id": number, "name": disease} for disease, number in CATEGORIES.items()]


def _localized(mined: Mined) -> Iterator[tuple[int, dict[int, RadiographRow]]]:
    """Each shard's localized radiographs by their ids."""
    first = 1
    for shard in mined.shards():
        rows = [row for row in mined.radiographs(shard) if row.outcome == "localized"]
        yield shard, dict(enumerate(rows, start=first))
        first += len(rows)


def _images(mined: Mined) -> Iterator[dict[str, Any]]:
    for _, rows in _localized(mined):
        for number, row in rows.items():
            yield {
                "id": number,
                "file_name": row.path,
                "width": row.width,
                "height": row.height,
            }


def _annotations(mined: Mined) -> Iterator[dict[str, Any]]:
    number = 0
    for shard, rows in _localized(mined):
        images = {row.path: image for image, row in rows.items()}
        for finding in mined.findings(shard):
            for box in finding.boxes:
                number += 1
                yield _annotation(number, images[finding.path], finding, box)


def _annotation(number: int, image: int, finding: FindingRow, box: Box) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": CATEGORIES[finding.disease],
        "bbox": [box.x, box.y, box.width, box.height],
        "area": box.width * box.height,
        "segmentation": [],
        "iscrowd": 0,
        "score": box.score,
        "attributes": _attributes(finding, box),
    }


def _attributes(finding: FindingRow, box: Box) -> dict[str, int | float | bool]:
    known = {"step": box.step, "probability": round(finding.probability, 6)}
    # An attribute is a word, a number or a truth value: what is not known is left out.
    return known if finding.labelled is None else {**known, "labelled": finding.labelled}
