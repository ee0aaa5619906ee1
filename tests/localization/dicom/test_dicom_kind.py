"""The header gate: what files say that they are, and what is done about it."""

from typing import Any

import pydicom
import pytest
from dicom_files import as_dicom, codes, ramp, read, refusal, with_syntax
from pydicom import Dataset
from pydicom.uid import (
    JPEG2000,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

SQUARE = ramp(height=256)

PROJECTION = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)


def chest(**elements: Any) -> Dataset:
    return as_dicom(SQUARE, 8, **elements)


def coded(value: str, scheme: str, meaning: str = "") -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def test_a_frontal_chest_radiograph_raises_no_doubt() -> None:
    said = {
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "PatientOrientation": ["L", "F"],
        "PatientAge": "063Y",
        "PresentationIntentType": "FOR PRESENTATION",
    }
    assert codes(chest(**said)) == []
    assert codes(chest(**dict.fromkeys(said, ""))) == []
    assert codes(chest()) == []


@pytest.mark.parametrize("modality", [None, "", "OT", "SC", "FILM"])
@pytest.mark.parametrize("sop_class", [*PROJECTION, SecondaryCaptureImageStorage, "1.2.3"])
def test_a_modality_that_says_nothing_is_doubtful_unless_the_sop_class_tells(
    sop_class: str, modality: str | None
) -> None:
    dataset = chest(SOPClassUID=sop_class, Modality=modality)
    expected = [] if sop_class in PROJECTION else ["modality"]
    assert [code for code in codes(dataset) if code != "for-processing"] == expected
    assert "modality" not in codes(dataset, policy="off")


def test_what_is_said_of_a_modality_that_says_nothing() -> None:
    for modality, named in ((None, "not given"), ("OT", "OT"), ("FILM", "not a known one")):
        scanned = chest(SOPClassUID=SecondaryCaptureImageStorage, Modality=modality)
        (doubt,) = read(scanned).doubts
        assert f"its modality is {named};" in doubt.sentence
        assert doubt.evidence["modality"] == named


@pytest.mark.parametrize("modality", ["CT", "MR", "US", "NM", "MG", "PT", "XA", ["CR", "CT"]])
@pytest.mark.parametrize("sop_class", [PROJECTION[0], SecondaryCaptureImageStorage])
def test_another_modality_is_refused_whatever_the_sop_class(sop_class: str, modality: Any) -> None:
    assert refusal(chest(SOPClassUID=sop_class, Modality=modality)).reason == "modality"


@pytest.mark.parametrize(
    "part", ["THORAX", "LUNG", "RIB", "Chest PA", "PORT CHEST", "CHESTABDOMEN", "RIBS"]
)
def test_what_shows_the_chest_is_fine(part: str) -> None:
    assert codes(chest(BodyPartExamined=part)) == []


@pytest.mark.parametrize(
    "part",
    [
        "EXTREMITY",
        "HAND",
        "L KNEE",
        "KNEES",
        "ABDOMEN",
        "SKULL",
        "LSPINE",
        "Lumbar spine",
        "FEET",
        "ABD",
        "UP_EXM",
        "LOW_EXM",
    ],
)
def test_what_cannot_show_a_chest_is_refused_by_policy(part: str) -> None:
    dataset = chest(BodyPartExamined=part)
    assert refusal(dataset).reason == "body-part"
    assert codes(dataset, policy="flag") == ["body-part"]
    assert codes(dataset, policy="off") == []


def test_a_coded_region_counts_as_well() -> None:
    assert refusal(chest(AnatomicRegionSequence=coded("T-D9400", "SRT"))).reason == "body-part"
    knee = refusal(chest(AnatomicRegionSequence=coded("72696002", "SCT")))
    assert knee.evidence["body_part"] == "KNEE"
    for thorax in (("T-D3000", "SRT"), ("816094009", "SCT")):
        assert codes(chest(AnatomicRegionSequence=coded(*thorax))) == []
    contradictory = chest(BodyPartExamined="CHEST", AnatomicRegionSequence=coded("72696002", "SCT"))
    assert codes(contradictory) == ["body-part"]


@pytest.mark.parametrize("part", ["Nightingale", "TSPINE", "CLAVICLE", "1", "BECKEN"])
def test_a_body_part_of_no_certain_meaning_is_doubtful_and_not_quoted(part: str) -> None:
    assert codes(chest(BodyPartExamined=part)) == ["body-part"]


@pytest.mark.parametrize("view", ["LL", "RL", "LATERAL", "L LAT", "PROFIL", "LATPA"])
def test_a_lateral_is_refused_by_policy(view: str) -> None:
    assert refusal(chest(ViewPosition=view)).reason == "view"
    assert codes(chest(ViewPosition=view), policy="flag") == ["view"]


def test_a_coded_lateral_is_refused_too() -> None:
    assert refusal(chest(ViewCodeSequence=coded("399173006", "SCT"))).reason == "view"
    assert codes(chest(ViewCodeSequence=coded("399348003", "SCT"))) == []


@pytest.mark.parametrize("view", ["RLD", "LLO", "RAO", "LATERAL DECUBITUS", "Nightingale"])
def test_other_views_are_doubtful(view: str) -> None:
    assert codes(chest(ViewPosition=view)) == ["view"]


@pytest.mark.parametrize(
    ("orientation", "image_left", "doubts"),
    [
        (["L", "F"], "patient right", []),
        (["LF", "FR"], "patient right", []),
        (["R", "F"], "patient left", ["mirrored"]),
        (["R", "H"], "patient left", ["turned"]),
        (["L", "H"], "patient right", ["turned"]),
        (["F", "R"], "unknown", ["turned"]),
        (["P", "F"], "unknown", ["view"]),
        (["LE", "F"], "unknown", []),
        ("L", "unknown", []),
        ("", "unknown", []),
    ],
)
def test_the_patients_orientation(orientation: Any, image_left: str, doubts: list[str]) -> None:
    dataset = chest(PatientOrientation=orientation)
    assert read(dataset).image_left == image_left
    assert codes(dataset) == doubts
    assert read(dataset, policy="off").image_left == image_left


@pytest.mark.parametrize(
    ("elements", "doubts"),
    [
        ({"PatientAge": "015Y"}, ["age"]),
        ({"PatientAge": "016Y"}, []),
        ({"PatientAge": "191M"}, ["age"]),
        ({"PatientAge": "006D"}, ["age"]),
        ({"PatientBirthDate": "20080102", "StudyDate": "20240101"}, ["age"]),
        ({"PatientBirthDate": "20080102", "StudyDate": "20240102"}, []),
        ({"PatientBirthDate": "20080102"}, []),
        ({"PatientBirthDate": "20300102", "StudyDate": "20240102"}, []),
        ({"PatientBirthDate": "2008.01.02", "StudyDate": "2020.01.02"}, ["age"]),
    ],
)
def test_a_child_is_doubtful_and_its_age_not_told(
    elements: dict[str, str], doubts: list[str]
) -> None:
    dataset = chest(**elements)
    assert codes(dataset) == doubts
    for doubt in read(dataset).doubts:
        assert dict(doubt.evidence) == {"youngest_years": 16}


def test_a_detectors_raw_image_is_doubtful() -> None:
    assert codes(chest(PresentationIntentType="FOR PROCESSING")) == ["for-processing"]
    raw = pydicom.uid.DigitalXRayImageStorageForProcessing
    assert codes(chest(SOPClassUID=raw)) == ["for-processing"]


def test_the_field_of_view_counts_and_not_the_pixel() -> None:
    oblong = as_dicom(ramp(height=1024), 8)
    assert codes(oblong) == ["aspect-ratio"]
    oblong.PixelSpacing = [0.1, 0.4]
    assert codes(oblong) == []
    assert codes(chest(PixelAspectRatio=[3, 1])) == ["aspect-ratio"]
    assert codes(chest(PixelSpacing=[0, 0])) == []
    assert codes(oblong, policy="flag") == []
    oblong.PixelSpacing = [0.1, 0.1]
    assert codes(oblong, policy="off") == []


@pytest.mark.parametrize("spacing", [["1", "18670403"], ["1e-308", "1e308"]])
def test_a_spacing_that_may_be_a_date_or_is_without_end_is_not_told(spacing: list[str]) -> None:
    (doubt,) = read(chest(PixelSpacing=spacing)).doubts
    assert doubt.evidence["width_by_height"] == "more than 100"


def test_what_cannot_be_shown_is_refused_whatever_the_policy() -> None:
    colour = chest(Modality="CT", PhotometricInterpretation="RGB")
    frames = chest(Modality="CT", NumberOfFrames=2, PixelData=SQUARE.tobytes() * 2)
    for policy in ("flag", "off"):
        assert refusal(colour, policy=policy).reason == "photometric"
        assert refusal(frames, policy=policy).reason == "multi-frame"
    assert refusal(frames).reason == "modality"
    assert codes(chest(Modality="CT"), policy="flag") == ["modality"]


def test_the_header_is_asked_before_pixels_are_decoded() -> None:
    broken = with_syntax(JPEG2000, b"no codestream")
    assert refusal(broken).reason == "broken"
    broken.BodyPartExamined = "HAND"
    assert refusal(broken).reason == "body-part"
