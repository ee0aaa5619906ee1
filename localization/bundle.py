"""A model bundle: the exported graph and the manifest that says what it is, verified."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from localization.appearance import AppearanceLimits
from localization.diseases import DISEASES
from localization.reference import Reference

GRAPH = "model.onnx"
MANIFEST = "manifest.json"

SHIPPED = Path("models/lite0-msa-am-kp")
"""The bundle that comes with the project, in the repository and in the image."""

Precision = Literal["fp32", "fp16", "int8"]

Fraction = Annotated[float, Field(ge=0, le=1)]


class BundleRefused(ValueError):
    """A bundle that is not what its manifest says; the message names the reason."""


class Manifest(BaseModel):
    """What `manifest.json` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    licence: str
    files: dict[str, str]
    """sha256 of every other file of the bundle that the model is made of."""
    graphs: dict[Precision, str] = {"fp32": GRAPH}
    """The file of each precision's graph."""
    fastest: Precision = "fp32"
    """The fastest of them on a CPU whose figures are near enough to those of fp32."""
    diseases: tuple[str, ...]
    side: int = Field(gt=0)
    """Side of the graph's input in pixels: the sharpness that training saw."""
    grid: tuple[int, int]
    """Rows and columns of a heat map."""
    steps: int = Field(gt=0)
    """Maps per disease: the radiograph as it is, then one per mining step."""
    operating_points: dict[str, Fraction]
    """Probability from which a disease counts as found."""
    box_thresholds: dict[str, tuple[Fraction, ...]]
    """Fractions of a heat map's range at which boxes are drawn."""
    appearance: AppearanceLimits
    """How untypical or turned a picture may be."""
    calibration: dict[str, Any]
    reference: Reference | None = None
    """Where the served graph's probabilities lay on the validation part; what drift is measured
    against."""
    training: dict[str, Any]
    """The recipe and the data."""
    quantization: dict[str, Any] = {}
    """How the int8 graph was made, and what it was compared by."""
    figures: dict[str, Any] = {}
    """Of the evaluation, as `cxr-localizer evaluate` prints them."""


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `manifest.json` into a bundle's folder."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")


@dataclass(frozen=True)
class ModelBundle:
    """A folder with `manifest.json` and the graphs that it names, verified."""

    folder: Path
    manifest: Manifest
    contents: dict[Precision, bytes] = field(repr=False)
    """Each graph as it was verified, whatever becomes of its file."""

    def graph(self, precision: Precision = "fp32") -> Path:
        """The ONNX file. Raises `BundleRefused` where there is none of that precision."""
        if precision not in self.manifest.graphs:
            raise BundleRefused(
                f"{self.folder} has no {precision} graph; it has {', '.join(self.manifest.graphs)}."
            )
        return self.folder / self.manifest.graphs[precision]

    @classmethod
    def load(cls, folder: Path) -> "ModelBundle":
        """Read and verify a bundle; the graph's shapes are verified when a `Localizer` opens it.

        Raises:
            BundleRefused: a file is missing, the manifest does not follow its schema, a hash
                differs, or the diseases are not `DISEASES` in their order.
        """
        manifest = _read_manifest(folder / MANIFEST)
        _verify_diseases(manifest)
        for graph in manifest.graphs.values():
            if graph not in manifest.files:
                raise BundleRefused(f"{folder / MANIFEST} gives no hash of {graph}.")
        if manifest.fastest not in manifest.graphs:
            raise BundleRefused(f"{folder / MANIFEST} names no {manifest.fastest} graph.")
        verified = {
            name: _verified(folder / name, expected) for name, expected in manifest.files.items()
        }
        graphs = manifest.graphs.items()
        return cls(folder, manifest, {precision: verified[name] for precision, name in graphs})


def shipped_bundle() -> Path:
    """Folder of the shipped bundle: in the working directory, else beside this package."""
    if SHIPPED.is_dir():
        return SHIPPED
    return Path(__file__).resolve().parent.parent / SHIPPED


def sha256(file: Path) -> str:
    """The hash of a file, as manifests hold it."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _read_manifest(file: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except OSError as error:
        raise BundleRefused(f"{file} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise BundleRefused(f"{file} is not a manifest: {place}: {first['msg']}.") from error


def _verify_diseases(manifest: Manifest) -> None:
    if manifest.diseases != DISEASES:
        raise BundleRefused(
            f"The model's diseases are {', '.join(manifest.diseases)}; "
            f"expected, in this order: {', '.join(DISEASES)}."
        )
    for name in ("operating_points", "box_thresholds"):
        missing = set(DISEASES) ^ set(getattr(manifest, name))
        if missing:
            raise BundleRefused(f"The manifest's {name} do not fit: {', '.join(sorted(missing))}.")


def _verified(file: Path, expected: str) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BundleRefused(f"{file} cannot be read: {error.strerror}.") from error
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise BundleRefused(
            f"{file} has the sha256 {found[:12]}..., its manifest says {expected[:12]}...: "
            "the file was changed or cut short."
        )
    return content
