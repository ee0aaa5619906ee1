"""From radiographs to localizations, through one ONNX Runtime session."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from localization.appearance import PRESENTATIONS, doubts_of_picture
from localization.boxes import Box, find_boxes
from localization.bundle import BundleRefused, ModelBundle, Precision
from localization.dicom import ImageLeft
from localization.diseases import DISEASES
from localization.field import Field
from localization.gate import Doubt, Policy, settle
from localization.radiograph import Format, Radiograph
from localization.session import Compute, Provider, open_session

BoxChoice = Literal["positive", "all", "none"]
"""Of which findings boxes are drawn."""

ANYWHERE = Compute()
"""A GPU where there is one, else all cores."""


class Outputs(NamedTuple):
    """What the graph returns for a batch, float32."""

    probabilities: NDArray[np.float32]
    """`[batch, 14]`, calibrated."""
    heatmaps: NDArray[np.float32]
    """`[batch, 14, rows, columns]`, all steps fused, in [0, 1]."""
    step_heatmaps: NDArray[np.float32]
    """`[batch, steps, 14, rows, columns]`, what each step added, in [0, 1]."""
    typicality: NDArray[np.float32]
    """`[batch]`, how much it looks like the training radiographs, in [0, 1]."""
    presentation: NDArray[np.float32]
    """`[batch, 4]`, the probabilities of `localization.appearance.PRESENTATIONS`."""
    tones: NDArray[np.float32]
    """`[batch, 2]`: standard deviation in levels of 255, and share of pixels at 0 or 255."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a model says of one disease in one radiograph."""

    disease: str
    probability: float
    threshold: float
    """The disease's operating point."""
    heatmap: NDArray[np.float32]
    """`[rows, columns]` over the radiograph's field, in [0, 1]."""
    boxes: tuple[Box, ...]
    step_heatmaps: NDArray[np.float32]
    """`[steps, rows, columns]`, what each mining step added to the heat map, in [0, 1]."""

    @property
    def positive(self) -> bool:
        """Whether the probability reaches the operating point."""
        return self.probability >= self.threshold


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to say of a radiograph beside its findings."""

    format: Format
    width: int
    height: int
    field: Field
    """The part that was localized, which the heat maps cover."""
    image_left: ImageLeft
    window: str | None
    typicality: float
    """In [0, 1]: 1 where it is as much like the training radiographs as half of them are."""
    warnings: tuple[Doubt, ...]


@dataclass(frozen=True, slots=True)
class Localization:
    """All 14 findings of a radiograph, most probable first."""

    model_name: str
    model_version: str
    radiograph: Facts
    findings: tuple[Finding, ...]


class Localizer:
    """Localizes diseases by a model bundle. Safe to share between threads.

    Args:
        bundle: a verified bundle.
        compute: where and how it runs.

    Raises:
        ProviderUnavailable: a GPU was asked for and cannot be used.
        BundleRefused: the bundle has no graph of the precision that was asked for, or the graph's
            inputs or outputs are not those of the manifest.
    """

    def __init__(self, bundle: ModelBundle, compute: Compute = ANYWHERE) -> None:
        self.bundle = bundle
        self._session = open_session(bundle, compute)
        _verify_shapes(self._session.graph, bundle)
        self._crowded = self._session
        if compute.shared and self.provider == "cpu":
            self._crowded = open_session(bundle, replace(compute, threads=1))

    @property
    def provider(self) -> Provider:
        """Where it runs."""
        return self._session.provider

    @property
    def precision(self) -> Precision:
        """Of the graph that runs."""
        return self._session.precision

    def localize(self, radiograph: Radiograph, policy: Policy = "refuse") -> Localization:
        """Localize one radiograph.

        Raises:
            RadiographRefused: `blank` or `atypical`, by policy.
        """
        return self.localize_batch([radiograph], policy)[0]

    def localize_batch(
        self, radiographs: Sequence[Radiograph], policy: Policy = "refuse"
    ) -> list[Localization]:
        """Localize several radiographs, of any sizes, in one run of the graph.

        Raises:
            RadiographRefused: one of them is `blank` or `atypical`, by policy.
        """
        return self.interpret(radiographs, self.infer(self.prepare(radiographs)), policy=policy)

    def prepare(self, radiographs: Sequence[Radiograph]) -> NDArray[np.uint8]:
        """Bring radiographs to the graph's input, uint8 `[batch, 1, side, side]`."""
        side = self.bundle.manifest.side
        return np.stack([radiograph.at_side(side) for radiograph in radiographs])[:, None]

    def infer(self, inputs: NDArray[np.uint8], *, alone: bool = True) -> Outputs:
        """Run the graph on what `prepare` returns.

        Args:
            inputs: uint8 `[batch, 1, side, side]`.
            alone: whether this inference may take all threads, or others run beside it.
        """
        return Outputs(*(self._session if alone else self._crowded).run(inputs))

    def interpret(
        self,
        radiographs: Sequence[Radiograph],
        outputs: Outputs,
        boxes: BoxChoice = "all",
        policy: Policy = "refuse",
    ) -> list[Localization]:
        """Turn a batch's outputs into findings with boxes, in each radiograph's own pixels.

        Args:
            radiographs: of the batch.
            outputs: what the graph returned for them.
            boxes: which findings get their boxes: all, the positive ones, or none.
            policy: towards what does not look like a frontal chest radiograph.

        Raises:
            RadiographRefused: one of them is `blank` or `atypical`, by policy.
        """
        manifest = self.bundle.manifest
        return [
            Localization(
                manifest.name,
                manifest.version,
                self._facts(radiograph, outputs, row, policy),
                self._findings(radiograph, outputs, row, boxes),
            )
            for row, radiograph in enumerate(radiographs)
        ]

    def _facts(self, radiograph: Radiograph, outputs: Outputs, row: int, policy: Policy) -> Facts:
        typicality = float(outputs.typicality[row])
        doubts = list(radiograph.doubts)
        if policy != "off":
            limits = self.bundle.manifest.appearance
            doubts += doubts_of_picture(
                outputs.tones[row], typicality, outputs.presentation[row], limits
            )
        return Facts(
            radiograph.format,
            radiograph.width,
            radiograph.height,
            radiograph.field,
            radiograph.image_left,
            radiograph.window,
            typicality,
            settle(doubts, policy),
        )

    def _findings(
        self, radiograph: Radiograph, outputs: Outputs, row: int, boxes: BoxChoice
    ) -> tuple[Finding, ...]:
        findings = (
            self._finding(radiograph, outputs, row, index, boxes) for index in range(len(DISEASES))
        )
        return tuple(sorted(findings, key=lambda finding: -finding.probability))

    def _finding(
        self, radiograph: Radiograph, outputs: Outputs, row: int, index: int, boxes: BoxChoice
    ) -> Finding:
        manifest, disease = self.bundle.manifest, DISEASES[index]
        probability = float(outputs.probabilities[row, index])
        threshold = manifest.operating_points[disease]
        heatmap = outputs.heatmaps[row, index]
        step_heatmaps = outputs.step_heatmaps[row, :, index]
        found: tuple[Box, ...] = ()
        if boxes == "all" or (boxes == "positive" and probability >= threshold):
            found = find_boxes(
                heatmap,
                radiograph.field.width,
                radiograph.field.height,
                manifest.box_thresholds[disease],
                step_heatmaps,
                (radiograph.field.x, radiograph.field.y),
            )
        return Finding(disease, probability, threshold, heatmap, found, step_heatmaps)


def _verify_shapes(session: onnxruntime.InferenceSession, bundle: ModelBundle) -> None:
    """Compare the graph's own shapes, whose first axis is the free batch, with the manifest."""
    manifest = bundle.manifest
    count, (rows, columns) = len(manifest.diseases), manifest.grid
    expected = {
        "radiographs": ("tensor(uint8)", [1, manifest.side, manifest.side]),
        "probabilities": ("tensor(float)", [count]),
        "heatmaps": ("tensor(float)", [count, rows, columns]),
        "step_heatmaps": ("tensor(float)", [manifest.steps, count, rows, columns]),
        "typicality": ("tensor(float)", []),
        "presentation": ("tensor(float)", [len(PRESENTATIONS)]),
        "tones": ("tensor(float)", [2]),
    }
    nodes = [*session.get_inputs(), *session.get_outputs()]
    found = {node.name: (node.type, list(node.shape[1:])) for node in nodes}
    if any(isinstance(node.shape[0], int) for node in nodes):
        raise BundleRefused(f"{bundle.folder} takes batches of one size only.")
    if found != expected:
        raise BundleRefused(
            f"{bundle.folder} has the inputs and outputs {found}; its manifest says {expected}."
        )
