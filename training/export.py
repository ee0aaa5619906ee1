"""From a checkpoint to a complete bundle."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from localization import DISEASES, Manifest, ModelBundle
from localization.boxes import PUBLISHED_THRESHOLDS
from localization.bundle import GRAPH, MANIFEST, sha256
from training.augmentation import enlarge
from training.calibration import Calibration, calibrate, expected_calibration_error
from training.dataset import ChestXray14, RadiographDataset
from training.network import LocalizationNetwork
from training.recipe import Recipe
from training.train import batches, load_network, open_part

LICENCE = "Apache-2.0"
CARD = "MODEL_CARD.md"


class ServedNetwork(nn.Module):
    """The network as it is served: `forward` is the exported graph.

    Args:
        network: trained.
        side: of the network's input, in pixels.
        calibration: of its logits.
    """

    def __init__(self, network: LocalizationNetwork, side: int, calibration: Calibration) -> None:
        super().__init__()
        self.network, self.side = network.eval(), side
        self.scale: Tensor
        self.offset: Tensor
        self.threshold: Tensor
        self.register_buffer("scale", torch.tensor(calibration.scale).float())
        self.register_buffer("offset", torch.tensor(calibration.offset).float())
        threshold = torch.tensor(calibration.logit_threshold).float()
        self.register_buffer("threshold", threshold[:, None, None])

    def forward(self, radiographs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Localize a batch.

        A heat map's value is 0.5 where the evidence alone would reach the disease's operating
        point, so that values compare between radiographs of one disease.

        Args:
            radiographs: uint8 `[batch, 1, side, side]`, as `localization` prepares them.

        Returns:
            `probabilities` `[batch, 14]`, `heatmaps` `[batch, 14, rows, columns]` and
            `step_heatmaps` `[batch, 1, 14, rows, columns]`, float32 in [0, 1].
        """
        logits, maps = self.network(enlarge(radiographs, self.side))
        probabilities = torch.sigmoid(self.scale * logits + self.offset)
        heatmaps = torch.sigmoid(maps - self.threshold)
        return probabilities, heatmaps, heatmaps[:, None]


@torch.inference_mode()
def predict_logits(
    network: LocalizationNetwork, side: int, dataset: RadiographDataset
) -> NDArray[np.float64]:
    """Logits `[radiographs, 14]` of a part, unvaried."""
    loader = batches(dataset, 32, shuffled=False)
    logits = [network(enlarge(batch.radiographs, side))[0] for batch in loader]
    return torch.cat(logits).double().numpy()


def export(
    checkpoint: Path, data: ChestXray14, cache: Path, folder: Path, version: str
) -> ModelBundle:
    """Write a bundle: graph, calibration on the validation part, manifest, the beginning of a card.

    What is written is loaded again, and so verified.

    Args:
        checkpoint: of a training run.
        data: the official files that it was trained on.
        cache: folder of decoded radiographs.
        folder: of the bundle; its name is the model's name.
        version: of the model.
    """
    recipe, network = load_network(checkpoint)
    side = recipe.input_sides[-1]
    validation = open_part(data, "validation", recipe.side, cache)
    logits = predict_logits(network, side, validation)
    labels = validation.labels.numpy().astype(bool)
    rates = data.part("training")[list(DISEASES)].mean().to_numpy(float)
    calibration = calibrate(logits, labels, rates)
    folder.mkdir(parents=True, exist_ok=True)
    served = ServedNetwork(network, side, calibration)
    write_graph(served, recipe.side, folder / GRAPH)
    cells = side // recipe.network.stride
    manifest = Manifest(
        name=folder.name,
        version=version,
        licence=LICENCE,
        files={GRAPH: sha256(folder / GRAPH)},
        diseases=DISEASES,
        side=recipe.side,
        grid=(cells, cells),
        steps=1,
        operating_points=dict(zip(DISEASES, calibration.threshold.round(6).tolist(), strict=True)),
        box_thresholds=dict.fromkeys(DISEASES, PUBLISHED_THRESHOLDS),
        calibration=_describe_calibration(calibration, logits, labels),
        training=_describe_training(recipe, data),
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
    if not (folder / CARD).exists():
        (folder / CARD).write_text(_begin_card(manifest))
    return ModelBundle.load(folder)


def write_graph(served: ServedNetwork, side: int, file: Path) -> None:
    """Write the ONNX graph of a served network, its batch axis free."""
    # Two radiographs, for an axis of one is taken for a constant.
    example = torch.zeros(2, 1, side, side, dtype=torch.uint8)
    served.eval()
    with torch.inference_mode():
        served(example)  # Measures where cells look, which is not to be traced.
    torch.onnx.export(
        served,
        (example,),
        file,
        input_names=["radiographs"],
        output_names=["probabilities", "heatmaps", "step_heatmaps"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1024)},),
        external_data=False,
        dynamo=True,
        verbose=False,
    )


def _describe_calibration(
    calibration: Calibration, logits: NDArray[np.float64], labels: NDArray[np.bool_]
) -> dict[str, object]:
    before = 1 / (1 + np.exp(-logits))
    after = calibration.probabilities(logits)
    return {
        "method": "Platt scaling on the validation part of train_val_list",
        "operating_points": "largest Youden index on the validation part; 5 % called positive "
        "where it holds fewer than 10 positives",
        "scale": calibration.scale.round(6).tolist(),
        "offset": calibration.offset.round(6).tolist(),
        "expected_calibration_error": {
            "before": round(expected_calibration_error(before, labels), 4),
            "after": round(expected_calibration_error(after, labels), 4),
        },
    }


def _describe_training(recipe: Recipe, data: ChestXray14) -> dict[str, object]:
    return {
        "recipe": recipe.model_dump(mode="json"),
        "data": "ChestX-ray14, image labels of train_val_list",
        "radiographs": {part: len(data.part(part)) for part in ("training", "validation")},
        "weights_before": recipe.network.weights,
    }


def _begin_card(manifest: Manifest) -> str:
    """What a model card can say before anyone has looked at the model."""
    radiographs = manifest.training["radiographs"]
    return f"""# {manifest.name}

Version {manifest.version}, {manifest.licence}.
For research; not a medical device, not for clinical use.

Trained by the recipe in `{MANIFEST}` on {manifest.training["data"]}: {radiographs["training"]}
radiographs, {radiographs["validation"]} for validation, calibration and operating points.

`cxr-localizer evaluate {manifest.name} --record` prints its figures and writes them into the
manifest.
"""
