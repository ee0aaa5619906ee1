"""The gate on pixels alone: what is no frontal chest radiograph, and what lies the wrong way."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import cv2
import data_store
import numpy as np
import pydicom.data
import pytest
import skimage.data
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.pixels.utils import pixel_array

from localization import (
    Compute,
    Doubt,
    Localization,
    Localizer,
    ModelBundle,
    Radiograph,
    RadiographRefused,
    find_field,
    shipped_bundle,
)
from localization.appearance import AppearanceLimits, doubts_of_picture
from localization.gate import Policy, settle

Pixels = NDArray[np.uint8]

CHEST = "RG1"
"""How the names of pydicom-data's one chest radiograph begin."""


@pytest.fixture(scope="module")
def localizer() -> Localizer:
    return Localizer(ModelBundle.load(shipped_bundle()), Compute("cpu", threads=1))


@pytest.fixture(scope="module")
def chest() -> Pixels:
    file = get_testdata_file("RG1_UNCR.dcm", download=False)
    return Radiograph.read(Path(str(file)).read_bytes()).pixels


def look(localizer: Localizer, pixels: Pixels, policy: Policy = "refuse") -> Localization:
    radiograph = Radiograph(np.ascontiguousarray(pixels), "PNG", exposed=find_field(pixels))
    return localizer.localize(radiograph, policy)


def codes(localizer: Localizer, pixels: Pixels) -> set[str]:
    return {doubt.code for doubt in look(localizer, pixels, "flag").radiograph.warnings}


def photographs() -> Iterator[tuple[str, Pixels]]:
    """The pictures that come with scikit-image: photographs, textures, text, retina, cells."""
    for file in sorted(Path(skimage.data.__file__).parent.glob("*.[pj]*g")):
        pixels = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        if pixels is not None and min(pixels.shape) >= 64:
            yield file.name, np.asarray(pixels, np.uint8)


def dicom_pixels() -> Iterator[tuple[str, Pixels]]:
    """What pydicom's files show, but for the chest: CT, MR, ultrasound, a leg, charts."""
    own, more = Path(pydicom.data.__file__).parent, Path(data_store.__file__).parent
    for file in sorted([*own.rglob("*.dcm"), *more.rglob("*.dcm")]):
        try:
            stored = pixel_array(file, index=0)
        except Exception:
            continue  # No pixels, or none that can be decoded here.
        gray = stored.mean(axis=-1) if stored.ndim == 3 else stored.astype(float)
        if gray.ndim == 2 and min(gray.shape) >= 64 and not file.name.startswith(CHEST):
            low, high = np.percentile(gray, (0.5, 99.5))
            levels = (gray - low) / max(high - low, 1) * 255
            yield file.name, np.clip(levels, 0, 255).astype(np.uint8)


def drawings() -> Iterator[tuple[str, Pixels]]:
    """Noise, gradients, text, flat colours and figures."""
    random = np.random.default_rng(0)
    down, across = np.mgrid[0:512, 0:512] / 511
    for blur in (0.5, 2, 8, 24):
        noise = random.integers(0, 256, (512, 512)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), blur)
        span = smooth - smooth.min()
        yield f"noise blurred by {blur}", (255 * span / span.max()).astype(np.uint8)
    for angle in range(0, 360, 60):
        slope = across * np.cos(np.radians(angle)) + down * np.sin(np.radians(angle))
        span = slope - slope.min()
        yield f"gradient at {angle}", (255 * span / span.max()).astype(np.uint8)
    for size in (0.5, 0.8, 1.2):
        page = np.full((700, 512), 255, np.uint8)
        for line in range(20):
            words = "".join(random.choice(list("abcdefgh klmno "), 40))
            cv2.putText(page, words, (10, 33 * line + 30), 0, size, 0, 2)
        yield f"text of size {size}", page
    for level in (0, 40, 128, 255):
        yield f"level {level}", np.full((512, 512), level, np.uint8)
    yield "disc", (200 * (np.hypot(down - 0.5, across - 0.5) < 0.4)).astype(np.uint8)
    yield (
        "squares",
        (255 * ((down * 16).astype(int) + (across * 16).astype(int) & 1)).astype(np.uint8),
    )


def test_nearly_all_that_is_no_chest_is_refused_and_the_rest_flagged(localizer: Localizer) -> None:
    others = [*photographs(), *dicom_pixels(), *drawings()]
    assert len(others) > 100
    found = {name: look(localizer, pixels, "flag").radiograph.warnings for name, pixels in others}
    passed = [name for name, doubts in found.items() if not doubts]
    assert len(passed) <= 0.05 * len(found), passed
    refused = [name for name, doubts in found.items() if any(d.disqualifying for d in doubts)]
    assert len(refused) >= 0.95 * len(found)
    assert all(doubt.evidence for doubts in found.values() for doubt in doubts)


def test_a_chest_is_neither_refused_nor_doubted(localizer: Localizer, chest: Pixels) -> None:
    facts = look(localizer, chest).radiograph
    assert facts.warnings == ()
    assert localizer.bundle.manifest.appearance.doubtful < facts.typicality <= 1


@pytest.mark.parametrize("name", ["CT_small", "MR_small", "JPEG2000_UNC", "693_UNCR", "mlut_18"])
def test_a_slice_that_names_no_modality_is_refused_by_its_pixels(
    localizer: Localizer, name: str
) -> None:
    slice_ = pydicom.dcmread(str(get_testdata_file(f"{name}.dcm", download=False)))
    slice_.Modality = ""
    file = BytesIO()
    slice_.save_as(file)
    radiograph = Radiograph.read(file.getvalue())
    assert "modality" in {doubt.code for doubt in radiograph.doubts}
    with pytest.raises(RadiographRefused) as refusal:
        localizer.localize(radiograph)
    assert refusal.value.reason == "atypical"


@pytest.mark.parametrize(
    ("code", "turn"),
    [
        ("on-its-side", lambda pixels: np.rot90(pixels)),
        ("on-its-side", lambda pixels: np.rot90(pixels, 3)),
        ("upside-down", lambda pixels: np.rot90(pixels, 2)),
        ("inverted", lambda pixels: 255 - pixels),
    ],
)
def test_a_chest_that_lies_the_wrong_way_is_flagged(
    localizer: Localizer, chest: Pixels, code: str, turn: Callable[[Pixels], Pixels]
) -> None:
    assert codes(localizer, turn(chest)) & {code, "atypical"}


def test_a_policy_of_off_says_nothing_of_pixels(localizer: Localizer) -> None:
    blank = np.full((300, 300), 90, np.uint8)
    assert look(localizer, blank, "off").radiograph.warnings == ()
    assert codes(localizer, blank) == {"blank"}
    with pytest.raises(RadiographRefused, match="blank"):
        look(localizer, blank)


LIMITS = AppearanceLimits(refused=0.3, doubtful=0.4, presentation=0.8)
UPRIGHT = np.array([1, 0, 0, 0], np.float32)
CONTRASTY = np.array([60, 0.1], np.float32)


def doubts(
    typicality: float = 1.0,
    presentation: NDArray[np.float32] = UPRIGHT,
    tones: NDArray[np.float32] = CONTRASTY,
) -> list[tuple[str, bool]]:
    found = doubts_of_picture(tones, typicality, presentation, LIMITS)
    return [(doubt.code, doubt.disqualifying) for doubt in found]


def test_each_limit_is_the_first_value_that_passes() -> None:
    assert doubts() == []
    assert doubts(0.4) == []
    assert doubts(0.39) == [("atypical", False)]
    assert doubts(0.3) == [("atypical", False)]
    assert doubts(0.29) == [("atypical", True)]
    assert doubts(tones=np.array([3.9, 0], np.float32)) == [("blank", True)]
    assert doubts(tones=np.array([60, 0.81], np.float32)) == [("saturated", False)]
    assert doubts(presentation=np.array([0.2, 0.8, 0, 0], np.float32)) == [("on-its-side", False)]
    assert doubts(presentation=np.array([0.3, 0, 0, 0.7], np.float32)) == []


def test_a_disqualifying_doubt_is_a_refusal_with_its_evidence_where_the_policy_says_so() -> None:
    minor = Doubt("a", "A.")
    major = Doubt("b", "B.", disqualifying=True, evidence={"limit": 1.0})
    assert settle([minor, major], "flag") == (minor, major)
    with pytest.raises(RadiographRefused, match=r"B\.") as refusal:
        settle([minor, major], "refuse")
    assert (refusal.value.reason, refusal.value.evidence) == ("b", {"limit": 1.0})
