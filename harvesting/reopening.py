"""A row's file, read again: for what is drawn of it later."""

from typing import Self

from harvesting.dataset import Dataset
from harvesting.items import ItemUnreadable
from harvesting.plan import Plan
from harvesting.reader import Reader
from harvesting.sources import Source


class SourceReader:
    """Reads the files of a data set's rows by their paths. Safe to share between threads."""

    def __init__(self, source: Source, plan: Plan) -> None:
        self._reader, self._plan = Reader(source), plan

    @classmethod
    def of(cls, dataset: Dataset, url: str | None = None) -> Self:
        """Of a data set's source, or of where that is now.

        Raises:
            SourceRefused: nothing is there.
            FileNotFoundError: the data set has no plan.
        """
        plan = Plan.read(dataset.files, dataset.root, max(1, dataset.run.files))
        return cls(Source.open(url or dataset.run.source), plan)

    def __call__(self, path: str) -> bytes:
        """A file's bytes. Raises `OSError` where they are not to be had."""
        try:
            return self._reader.read(self._plan.item(path))
        except ItemUnreadable as error:
            raise OSError(str(error)) from error
