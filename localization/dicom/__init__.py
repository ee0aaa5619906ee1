"""DICOM radiographs: read, asked whether they are frontal chest radiographs, and displayed.

Bytes pass from module to module: `parsing` (elements) -> `kind` (what the header says that it is)
-> `pixels` (stored values) -> `presentation` (levels on a screen). See docs/dicom.md.
"""

from localization.dicom.geometry import ImageLeft
from localization.dicom.parsing import looks_like_dicom
from localization.dicom.reading import Display, read_dicom

__all__ = ["Display", "ImageLeft", "looks_like_dicom", "read_dicom"]
