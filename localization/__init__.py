"""Radiograph in, localization out: the one place that knows what a result means."""

import os

# Before ONNX Runtime is loaded: its wheels report each start and each session to their maker.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from localization.answer import to_answer
from localization.boxes import Box, find_boxes
from localization.bundle import BundleRefused, Manifest, ModelBundle, shipped_bundle
from localization.diseases import DISEASES
from localization.field import Field, find_field
from localization.gate import Doubt, Policy
from localization.interpretation import Facts, Finding, Localization, Outputs, interpret
from localization.localizer import Localizer
from localization.overlay import draw_overlay, overlay_pixels
from localization.picture import to_picture
from localization.radiograph import Outline, Radiograph
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
    "Outline",
    "Outputs",
    "Policy",
    "ProviderUnavailable",
    "Radiograph",
    "RadiographRefused",
    "draw_overlay",
    "find_boxes",
    "find_field",
    "interpret",
    "overlay_pixels",
    "shipped_bundle",
    "to_answer",
    "to_picture",
]
