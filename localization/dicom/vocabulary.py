"""What the words that a header uses for body parts and views mean to a model of frontal chests.

The words are PS3.16's: the Body Part Examined terms of Annex L, the anatomic regions of CID 4009
and the views of CID 4010, beside what is seen to stand in their place ("CHEST PA", "L LAT").
"""

import re
from functools import cache
from typing import Any, Literal

from pydicom import Dataset

from localization.dicom.elements import items, text

BodyPart = Literal["chest", "elsewhere", "unknown"]
View = Literal["frontal", "lateral", "oblique", "unknown"]

# Found anywhere in a term, they mean that the chest is in the picture: CHESTABDOMEN, PORTCHEST.
CHEST = ("CHEST", "THORAX", "TORAX", "LUNG", "PULMON", "MEDIASTIN")
# As words, they mean the same: RIB is within CRIBRIFORM, too.
CHEST_WORDS = frozenset({"BRONCHUS", "HEART", "PLEURA", "RIB", "RIBCAGE", "RIBS"})

# As words, they mean that no chest can be in the picture. What is missing here is doubtful: of the
# spine, the thoracic part, and what borders on the chest (clavicle, scapula, sternum, oesophagus).
# (One string: a hundred quoted words would fill a hundred lines.)
ELSEWHERE = frozenset(
    """
    ABD ABDOMEN ABDOMENPELVIS ADRENAL ANKLE ANUS APPENDIX ARM BILEDUCT BILIARY BLADDER BRAIN BREAST
    CALCANEUS CALF CAROTID CEREBELLUM CERVICAL CERVIX CHEEK COCCYX COLON CRANIUM CSKULL CSPINE
    DUODENUM EAR ELBOW EXTREMITIES EXTREMITY EYE EYELID FACE FACIAL FEET FEMUR FETUS FIBULA FINGER
    FOOT FOREARM FOREFOOT GALLBLADDER GLUTEUS GROIN HAND HEAD HEADNECK HEEL HIP HUMERUS IAC ILEUM
    ILIUM INTESTINE JAW JEJUNUM KIDNEY KNEE LARYNX LEG LIMB LIVER LOWERLEG LOWERLIMB LOWEXM LSPINE
    LSSPINE LUMBAR LUMBOSACRAL MANDIBLE MASTOID MAXILLA METACARPUS METATARSUS MOUTH NASAL
    NASOPHARYNX NAVICULAR NECK NOSE OPTICCANAL ORBIT OVARY PANCREAS PARANASAL PAROTID PATELLA PELVIS
    PENIS PHARYNX PITUITARY PROSTATE RADIUS RECTUM SACROILIAC SACRUM SCAPHOID SCROTUM SELLA SESAMOID
    SHOULDER SIJOINT SINUS SKULL SSPINE STOMACH TARSAL TARSUS TEETH TESTIS THIGH THUMB TIBIA TMJ TOE
    TONGUE TOOTH ULNA UPEXM UPPERARM UPPERLIMB URETER URETHRA UTERUS WRIST ZYGOMA
    """.split()  # noqa: SIM905
)

FRONTAL = frozenset({"AP", "PA", "FRONTAL"})
LATERAL = frozenset(
    """
    LAT LATAP LATERAL LATL LATPA LATR LL LLAT LM ML PROFIL RL RLAT SAGITTAL
    """.split()  # noqa: SIM905
)
# By their first letters; a lateral decubitus is a decubitus, a lateral oblique an oblique.
OBLIQUE = ("OBL", "DECUB", "AXIAL", "LORDOTIC", "SWIMMER", "TANGENTIAL")
# PS3.3 C.8.1.1 abbreviates lateral obliques and decubitus so; the others are common.
OBLIQUE_WORDS = frozenset({"LAO", "LPO", "RAO", "RPO", "LLO", "RLO", "LLD", "RLD"})


@cache
def _codes() -> Any:
    """All of PS3.16's codes, loaded when the first is asked for: it takes as long as all else that
    reading a file loads."""
    from pydicom import sr

    return sr.codedict.codes


@cache
def modalities() -> frozenset[str]:
    """DICOM's own names of modalities (PS3.16 CID 33)."""
    group = _codes().cid33
    return frozenset(str(getattr(group, keyword).value) for keyword in group.dir())


def body_part(term: str) -> tuple[BodyPart, str]:
    """What a term says of the chest, and the word that says it, if that is one of the lists."""
    words = _words(term)
    whole = "".join(words)
    if any(part in whole for part in CHEST) or CHEST_WORDS & {*words}:
        return "chest", "CHEST"
    for word in (whole, *words, *(word.removesuffix("S") for word in words)):
        if word in ELSEWHERE:
            return "elsewhere", word
    return "unknown", ""


def view(term: str) -> View:
    """What a term says of the direction in which the rays went."""
    words = _words(term)
    whole = "".join(words)
    if OBLIQUE_WORDS & {whole, *words} or any(word.startswith(OBLIQUE) for word in words):
        return "oblique"
    if LATERAL & {whole, *words}:
        return "lateral"
    if FRONTAL & {whole, *words} or whole in ("ANTEROPOSTERIOR", "POSTEROANTERIOR"):
        return "frontal"
    return "unknown"


def body_part_terms(dataset: Dataset) -> list[str]:
    """The terms that name what was examined: one, and one for each coded region."""
    regions = [_term(item, "cid4009") for item in items(dataset, "AnatomicRegionSequence")]
    return [term for term in (text(dataset, "BodyPartExamined"), *regions) if term]


def view_terms(dataset: Dataset) -> list[str]:
    """The terms that name the view: one, and one for each coded view."""
    views = [_term(item, "cid4010") for item in items(dataset, "ViewCodeSequence")]
    return [term for term in (text(dataset, "ViewPosition"), *views) if term]


def _term(item: Dataset, context_group: str) -> str:
    """The name of a code: DICOM's own keyword where the code is known, else its meaning."""
    from pydicom.sr.coding import Code

    code = Code(text(item, "CodeValue"), text(item, "CodingSchemeDesignator"), "")
    group = getattr(_codes(), context_group)
    for keyword in group.dir():
        # Equal also where one is SNOMED's old code and one the new.
        if getattr(group, keyword) == code:
            return str(keyword)
    return text(item, "CodeMeaning")


def _words(term: str) -> list[str]:
    """Upper-case words of a term, of a keyword in CamelCase as well."""
    spaced = re.sub("(?<=[a-z])(?=[A-Z])", " ", term)
    return re.findall("[A-Z]+", spaced.upper())
