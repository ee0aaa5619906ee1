"""From radiographs to localizations, through one ONNX Runtime session."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from localization.appearance import PRESENTATIONS
from localization.bundle import BundleRefused, ModelBundle, Precision
from localization.gate import Policy
from localization.interpretation import BoxChoice, Localization, Outputs, interpret
from localization.radiograph import Outline, Radiograph
from localization.session import Compute, Provider, open_session

ANYWHERE = Compute()
"""A GPU where there is one, else all cores."""


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
        radiographs: Sequence[Radiograph | Outline],
        outputs: Outputs,
        boxes: BoxChoice | frozenset[str] = "all",
        policy: Policy = "refuse",
    ) -> list[Localization]:
        """Turn a batch's outputs into findings with boxes, in each radiograph's own pixels.

        Args:
            radiographs: of the batch, or their outlines, which are enough.
            outputs: what the graph returned for them.
            boxes: which findings get their boxes: all, the positive ones, none, or those of
                given diseases.
            policy: towards what does not look like a frontal chest radiograph.

        Raises:
            RadiographRefused: one of them is `blank` or `atypical`, by policy.
        """
        manifest = self.bundle.manifest
        return [
            interpret(manifest, radiograph, outputs, row, boxes, policy)
            for row, radiograph in enumerate(radiographs)
        ]


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
