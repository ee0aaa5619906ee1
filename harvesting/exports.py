"""The mined boxes as other tools read them, written beside a data set's tables."""

from harvesting.box_list import BOX_LIST, box_list_chunks
from harvesting.coco import COCO, coco_chunks
from harvesting.dataset import Dataset
from harvesting.items import join
from harvesting.storage import write_stream


def write_exports(dataset: Dataset) -> None:
    """Write `coco.json` and `boxes.csv` of a finished data set; each replaces the one before."""
    for name, chunks in ((COCO, coco_chunks), (BOX_LIST, box_list_chunks)):
        write_stream(dataset.files, join(dataset.root, name), chunks(dataset))
