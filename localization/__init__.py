"""Radiograph in, localization out: the one place that knows what a result means."""

from localization.answer import to_answer
from localization.boxes import Box, find_boxes
from localization.bundle import BundleRefused, Manifest, ModelBundle, shipped_bundle
from localization.diseases import DISEASES
from localization.field import Field, find_field
from localization.gate import Doubt, Policy
from localization.localizer import (
    Facts,
    Finding,
    Localization,
    Localizer,
    Outputs,
)
from localization.overlay import draw_overlay
from localization.radiograph import Radiograph
from localization.refusal import RadiographRefused
from localization.session import Compute, ProviderUnavailable

__all__ = [
    "DISEASES",
    "Box",
    "BundleRefused",
    "Compute",
    "Doubt",
    "Facts",
    "Field",
    "Finding",
    "Localization",
    "Localizer",
    "Manifest",
    "ModelBundle",
    "Outputs",
    "Policy",
    "ProviderUnavailable",
    "Radiograph",
    "RadiographRefused",
    "draw_overlay",
    "find_boxes",
    "find_field",
    "shipped_bundle",
    "to_answer",
]
