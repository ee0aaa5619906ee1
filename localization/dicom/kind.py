"""The header gate: whether a file says that it is, or is not, a frontal chest radiograph."""

import re
from datetime import date, datetime

from pydicom import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)

from localization.dicom import vocabulary
from localization.dicom.elements import text, texts
from localization.dicom.geometry import orientation_doubts
from localization.gate import Doubt
from localization.refusal import RadiographRefused

MODALITIES = ("CR", "DX", "DR", "RG")
"""Projection radiography: computed, digital (two names) and scanned film."""

OTHER = "OT"
"""DICOM's own word for another modality: converters and scanners of film write it, too."""

SOP_CLASSES = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)
"""Those of projection radiography; a scanned film has none of its own."""

YOUNGEST_YEARS = 16
"""The model's intended range of age starts here."""

MOST_COUNTED = 999
"""Frames that a refusal counts."""

# Of PatientAge (PS3.5, VR AS): how many of its units make a year.
AGE_UNITS = {"D": 365.25, "W": 365.25 / 7, "M": 12, "Y": 1}


def header_doubts(dataset: Dataset) -> list[Doubt]:
    """All that a header has against a frontal chest radiograph, the worst kinds first.

    What it does not say is no doubt, as most elements are optional and often empty; but for the
    modality, which is mandatory.
    """
    return [
        *_modality_doubts(dataset),
        *_body_part_doubts(dataset),
        *_view_doubts(dataset),
        *orientation_doubts(dataset),
        *_processing_doubts(dataset),
        *_age_doubts(dataset),
    ]


def check_gray_frame(dataset: Dataset) -> None:
    """Refuse what cannot be shown at all, whatever the policy: several frames, or colour.

    Raises:
        RadiographRefused: `multi-frame` or `photometric`.
    """
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        # Many are not counted: a misfilled number might be a date of birth, or a patient's.
        held = frames if frames <= MOST_COUNTED else f"more than {MOST_COUNTED}"
        raise RadiographRefused(
            "multi-frame",
            f"The DICOM file holds {held} frames; send one radiograph.",
            {"frames": held, "read": 1},
        )
    if dataset.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise RadiographRefused(
            "photometric",
            "The DICOM file's image is not gray: its photometric interpretation must be "
            "MONOCHROME1 or MONOCHROME2.",
        )


def _modality_doubts(dataset: Dataset) -> list[Doubt]:
    """Another modality than radiography, or none (PS3.3 C.7.3.1) where no SOP class tells."""
    told = texts(dataset, "Modality")
    read = ", ".join(MODALITIES)
    # Only one of DICOM's own is quoted: a misfilled one might be a name.
    known = vocabulary.modalities().intersection(told)
    if elsewhere := sorted(known.difference((*MODALITIES, OTHER))):
        return [
            Doubt(
                "modality",
                f"The DICOM file's modality is {elsewhere[0]}; send a radiograph ({read}).",
                disqualifying=True,
                evidence={"modality": elsewhere[0], "read": read},
            )
        ]
    if set(told) & {*MODALITIES} or text(dataset, "SOPClassUID") in SOP_CLASSES:
        return []
    named = OTHER if known else "not a known one" if any(told) else "not given"
    return [
        Doubt(
            "modality",
            f"It is not certain from the DICOM file that this is a radiograph ({read}): its "
            f"modality is {named}; only frontal chest radiographs are localized reliably.",
            evidence={"modality": named, "read": read},
        )
    ]


def _body_part_doubts(dataset: Dataset) -> list[Doubt]:
    """What the file says was examined; a term without a meaning here is never quoted."""
    parts = [vocabulary.body_part(term) for term in vocabulary.body_part_terms(dataset)]
    verdicts = {verdict for verdict, _ in parts}
    if verdicts <= {"chest"}:
        return []
    elsewhere = [word for verdict, word in parts if verdict == "elsewhere"]
    if elsewhere and "chest" not in verdicts:
        return [
            Doubt(
                "body-part",
                "The DICOM file says that another part of the body than the chest was examined; "
                "send a chest radiograph, or correct Body Part Examined.",
                disqualifying=True,
                evidence={"body_part": elsewhere[0], "expected": "CHEST"},
            )
        ]
    return [
        Doubt(
            "body-part",
            "It is not certain from the DICOM file that the chest was examined; "
            "only frontal chest radiographs are localized reliably.",
            evidence={"expected": "CHEST"},
        )
    ]


def _view_doubts(dataset: Dataset) -> list[Doubt]:
    views = [vocabulary.view(term) for term in vocabulary.view_terms(dataset)]
    if {*views} <= {"frontal"}:
        return []
    if "lateral" in views and "frontal" not in views:
        return [
            Doubt(
                "view",
                "The DICOM file says that this is a lateral radiograph; send the frontal one.",
                disqualifying=True,
                evidence={"view": "lateral", "expected": "AP or PA"},
            )
        ]
    found = "oblique or decubitus" if "oblique" in views else "not a known one"
    return [
        Doubt(
            "view",
            "It is not certain from the DICOM file that this is a frontal view; "
            "only frontal chest radiographs are localized reliably.",
            evidence={"view": found, "expected": "AP or PA"},
        )
    ]


def _processing_doubts(dataset: Dataset) -> list[Doubt]:
    raw = text(dataset, "PresentationIntentType") == "FOR PROCESSING"
    if not raw and text(dataset, "SOPClassUID") != DigitalXRayImageStorageForProcessing:
        return []
    return [
        Doubt(
            "for-processing",
            "The DICOM file holds a detector's raw image; send the one for presentation.",
        )
    ]


def _age_doubts(dataset: Dataset) -> list[Doubt]:
    years = _age_years(dataset)
    if years is None or years >= YOUNGEST_YEARS:
        return []
    return [
        Doubt(
            "age",
            f"The model is meant for patients of {YOUNGEST_YEARS} years or older; "
            "do not rely on its findings in a child.",
            evidence={"youngest_years": YOUNGEST_YEARS},
        )
    ]


def _age_years(dataset: Dataset) -> float | None:
    """The patient's age, as given or from the dates; None where neither can be read."""
    age = re.fullmatch(r"(\d{1,3})([DWMY])", text(dataset, "PatientAge"))
    if age:
        return int(age[1]) / AGE_UNITS[age[2]]
    born = _day(dataset, "PatientBirthDate")
    seen = _day(dataset, "StudyDate") or _day(dataset, "AcquisitionDate")
    if born is None or seen is None or seen < born:
        return None
    return (seen - born).days / AGE_UNITS["D"]


def _day(dataset: Dataset, keyword: str) -> date | None:
    """A date; None where it is not one. With dots, as before the standard's version 3."""
    try:
        return datetime.strptime(text(dataset, keyword).replace(".", ""), "%Y%m%d").date()
    except ValueError:
        return None
