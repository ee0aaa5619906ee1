"""Reports for people: what a model says of radiographs, with pictures, as HTML or PDF."""

from reporting.files import find_files
from reporting.report import write_report

__all__ = ["find_files", "write_report"]
