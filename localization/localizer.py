"""From radiographs to localizations, through one ONNX Runtime session."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from localization.boxes import Box, find_boxes
from localization.bundle import BundleRefused, ModelBundle
from localization.diseases import DISEASES
from localization.radiograph import Radiograph

Provider = Literal["cpu", "cuda"]

PROVIDERS: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class ProviderUnavailable(RuntimeError):
    """The execution provider that was asked for is not to be had here."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the graph returns for a batch, float32."""

    probabilities: NDArray[np.float32]
    """`[batch, 14]`, calibrated."""
    heatmaps: NDArray[np.float32]
    """`[batch, 14, rows, columns]`, all steps fused, in [0, 1]."""
    step_heatmaps: NDArray[np.float32]
    """`[batch, steps, 14, rows, columns]`, what each step added, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a model says of one disease in one radiograph."""

    disease: str
    probability: float
    threshold: float
    """The disease's operating point."""
    heatmap: NDArray[np.float32]
    """`[rows, columns]` over the whole radiograph, in [0, 1]."""
    boxes: tuple[Box, ...]

    @property
    def positive(self) -> bool:
        """Whether the probability reaches the operating point."""
        return self.probability >= self.threshold


@dataclass(frozen=True, slots=True)
class Localization:
    """All 14 findings of a radiograph, most probable first."""

    model_name: str
    model_version: str
    radiograph_format: str
    width: int
    height: int
    findings: tuple[Finding, ...]


class Localizer:
    """Localizes diseases by a model bundle. Safe to share between threads.

    Args:
        bundle: a verified bundle.
        provider: `auto` takes a CUDA device where the installed ONNX Runtime can use one.
        threads: that share one inference on a CPU; 0 means all cores.

    Raises:
        ProviderUnavailable: `cuda` was asked for and cannot be used.
        BundleRefused: the graph's inputs or outputs are not those of the manifest.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        provider: Literal["auto", "cpu", "cuda"] = "auto",
        threads: int = 0,
    ) -> None:
        self.bundle = bundle
        self._session, self.provider = _open_session(bundle, provider, threads)
        _verify_shapes(self._session, bundle)

    def localize(self, radiograph: Radiograph) -> Localization:
        """Localize one radiograph."""
        return self.localize_batch([radiograph])[0]

    def localize_batch(self, radiographs: Sequence[Radiograph]) -> list[Localization]:
        """Localize several radiographs, of any sizes, in one run of the graph."""
        return self.interpret(radiographs, self.infer(self.prepare(radiographs)))

    def prepare(self, radiographs: Sequence[Radiograph]) -> NDArray[np.uint8]:
        """Bring radiographs to the graph's input, uint8 `[batch, 1, side, side]`."""
        side = self.bundle.manifest.side
        return np.stack([radiograph.at_side(side) for radiograph in radiographs])[:, None]

    def infer(self, inputs: NDArray[np.uint8]) -> Outputs:
        """Run the graph on what `prepare` returns."""
        names = ["probabilities", "heatmaps", "step_heatmaps"]
        probabilities, heatmaps, steps = self._session.run(names, {"radiographs": inputs})
        return Outputs(np.asarray(probabilities), np.asarray(heatmaps), np.asarray(steps))

    def interpret(self, radiographs: Sequence[Radiograph], outputs: Outputs) -> list[Localization]:
        """Turn a batch's outputs into findings with boxes, in each radiograph's own pixels."""
        manifest = self.bundle.manifest
        return [
            Localization(
                manifest.name,
                manifest.version,
                radiograph.format,
                radiograph.width,
                radiograph.height,
                self._findings(radiograph, outputs, row),
            )
            for row, radiograph in enumerate(radiographs)
        ]

    def _findings(self, radiograph: Radiograph, outputs: Outputs, row: int) -> tuple[Finding, ...]:
        manifest = self.bundle.manifest
        findings = [
            Finding(
                disease,
                float(outputs.probabilities[row, index]),
                manifest.operating_points[disease],
                outputs.heatmaps[row, index],
                find_boxes(
                    outputs.heatmaps[row, index],
                    radiograph.width,
                    radiograph.height,
                    manifest.box_thresholds[disease],
                    outputs.step_heatmaps[row, :, index],
                ),
            )
            for index, disease in enumerate(DISEASES)
        ]
        return tuple(sorted(findings, key=lambda finding: -finding.probability))


def _open_session(
    bundle: ModelBundle, wanted: Literal["auto", "cpu", "cuda"], threads: int
) -> tuple[onnxruntime.InferenceSession, Provider]:
    """Open the graph where it was asked for; `auto` prefers CUDA and takes the CPU otherwise."""
    if wanted == "cpu":
        return _open_on_cpu(bundle, threads), "cpu"
    try:
        return _open_on_cuda(bundle), "cuda"
    except ProviderUnavailable:
        if wanted == "cuda":
            raise
        return _open_on_cpu(bundle, threads), "cpu"


def _open_on_cpu(bundle: ModelBundle, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return _open(bundle, options, "cpu")


def _open_on_cuda(bundle: ModelBundle) -> onnxruntime.InferenceSession:
    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        raise ProviderUnavailable(
            "CUDA was asked for, but the installed ONNX Runtime has no CUDA provider: "
            "install requirements/gpu.txt, which holds onnxruntime-gpu in place of onnxruntime."
        )
    # CUDA's own packages are not on the loader's path.
    onnxruntime.preload_dlls()
    session = _open(bundle, onnxruntime.SessionOptions(), "cuda")
    # Where CUDA cannot be loaded, ONNX Runtime warns and takes the CPU.
    if session.get_providers()[0] != PROVIDERS["cuda"]:
        raise ProviderUnavailable(
            "CUDA was asked for, but its libraries or its device cannot be used here; "
            "ONNX Runtime's own message above says why."
        )
    return session


def _open(
    bundle: ModelBundle, options: onnxruntime.SessionOptions, provider: Provider
) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(
            str(bundle.graph), options, providers=[PROVIDERS[provider]]
        )
    except Exception as error:  # ONNX Runtime's own exceptions share no public base class.
        raise BundleRefused(f"{bundle.graph} cannot be opened: {error}") from error


def _verify_shapes(session: onnxruntime.InferenceSession, bundle: ModelBundle) -> None:
    """Compare the graph's own shapes, whose first axis is the free batch, with the manifest."""
    manifest = bundle.manifest
    count, (rows, columns) = len(manifest.diseases), manifest.grid
    expected = {
        "radiographs": ("tensor(uint8)", [1, manifest.side, manifest.side]),
        "probabilities": ("tensor(float)", [count]),
        "heatmaps": ("tensor(float)", [count, rows, columns]),
        "step_heatmaps": ("tensor(float)", [manifest.steps, count, rows, columns]),
    }
    nodes = [*session.get_inputs(), *session.get_outputs()]
    found = {node.name: (node.type, list(node.shape[1:])) for node in nodes}
    if any(isinstance(node.shape[0], int) for node in nodes):
        raise BundleRefused(f"{bundle.graph} takes batches of one size only.")
    if found != expected:
        raise BundleRefused(
            f"{bundle.graph} has the inputs and outputs {found}; its manifest says {expected}."
        )
