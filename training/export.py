"""From a checkpoint to a complete bundle."""

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from localization import DISEASES, Compute, Localizer, Manifest, ModelBundle
from localization.appearance import AppearanceLimits
from localization.boxes import PUBLISHED_THRESHOLDS
from localization.bundle import GRAPH, MANIFEST, sha256, write_manifest
from localization.session import OUTPUTS
from training import appearance_limits, box_thresholds, heat_setting
from training.appearance import fit_appearance, unfitted
from training.appearance_limits import choose_limits
from training.augmentation import enlarge
from training.box_thresholds import choose_box_thresholds
from training.calibration import Calibration, calibrate, expected_calibration_error
from training.dataset import (
    ChestXray14,
    RadiographDataset,
    cached_pixels,
    read_radiograph,
)
from training.heat import HeatMaps, HeatSetting, fit_heat
from training.heat_setting import choose_heat_setting
from training.network import LocalizationNetwork
from training.protocol import field_of, patient_groups, read_targets
from training.recipe import Recipe
from training.reference import record_reference
from training.served import ServedNetwork
from training.train import batches, load_network, open_part, save_network

LICENCE = "Apache-2.0"
CARD = "MODEL_CARD.md"
WEIGHTS = "network.pth"
"""The trained network itself, to export or train on from; what serves does not need it."""


@torch.inference_mode()
def predict(
    network: LocalizationNetwork, side: int, dataset: RadiographDataset
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """A part as it is served: logits `[radiographs, 14]`, and the evidence that they were pooled
    from, `[radiographs, 14, rows, columns]`."""
    outputs = [
        network.look_twice(enlarge(batch.radiographs, side))[:2] for batch in batches(dataset, 32)
    ]
    logits, maps = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    return logits.double().numpy(), maps.numpy()


def export(
    checkpoint: Path,
    data: ChestXray14,
    cache: Path,
    folder: Path,
    version: str,
    setting: HeatSetting | None = None,
    *,
    gate: bool = True,
) -> ModelBundle:
    """Write a bundle: graph, calibration, box thresholds, manifest, weights, a card's start.

    Calibration, operating points and reference come from the validation part; how evidence becomes
    heat, and box thresholds, from the boxes of even patient ids.

    What is written is loaded again, and so verified.

    Args:
        checkpoint: of a training run.
        data: the official files that it was trained on.
        cache: folder of decoded radiographs.
        folder: of the bundle; its name is the model's name.
        version: of the model.
        setting: of the heat maps, in place of one that is chosen.
        gate: fit what the gate of pixels needs. Without it, which is faster, that gate refuses and
            doubts nothing that is not blank or saturated.
    """
    recipe, network = load_network(checkpoint)
    side = recipe.input_sides[-1]
    validation = open_part(data, "validation", recipe.side, cache)
    logits, maps = predict(network, side, validation)
    labels = validation.labels.numpy().astype(bool)
    rates = data.part("training")[list(DISEASES)].mean().to_numpy(float)
    calibration = calibrate(logits, labels, rates)
    if setting is None:
        targets = patient_groups(read_targets(data))["even patients"]
        stems = sorted({target.stem for target in targets})
        evidence = _evidence(network, recipe, data, cache, stems)
        fields = {s: field_of(read_radiograph(data.table.loc[s, "file"])) for s in stems}
        setting = choose_heat_setting(targets, evidence, fields, maps, labels)
    heat = HeatMaps(fit_heat(maps, labels, setting))
    folder.mkdir(parents=True, exist_ok=True)
    training = open_part(data, "training", recipe.side, cache)
    look = fit_appearance(network, side, training) if gate else unfitted(network.head.in_channels)
    served = ServedNetwork(network, side, calibration, heat, look, recipe.mining)
    write_graph(served, recipe.side, folder / GRAPH)
    save_network(recipe, network, folder / WEIGHTS)
    cells = side // recipe.network.stride
    manifest = Manifest(
        name=folder.name,
        version=version,
        licence=LICENCE,
        files={GRAPH: sha256(folder / GRAPH)},
        diseases=DISEASES,
        side=recipe.side,
        grid=(cells, cells),
        steps=1 if recipe.mining is None else 1 + recipe.mining.steps,
        operating_points=dict(zip(DISEASES, calibration.threshold.round(6).tolist(), strict=True)),
        box_thresholds=dict.fromkeys(DISEASES, PUBLISHED_THRESHOLDS),
        appearance=AppearanceLimits(refused=0, doubtful=0, presentation=1),
        calibration=_describe_calibration(calibration, setting, logits, labels, gate=gate),
        training=_describe_training(recipe, data),
    )
    write_manifest(manifest, folder)
    localizer = Localizer(ModelBundle.load(folder), Compute("cpu"))
    chosen: dict[str, object] = {"box_thresholds": choose_box_thresholds(localizer, data)}
    if gate:
        chosen["appearance"] = choose_limits(localizer, training, validation)
    write_manifest(manifest.model_copy(update=chosen), folder)
    if not (folder / CARD).exists():
        (folder / CARD).write_text(_begin_card(manifest))
    return record_reference(ModelBundle.load(folder), data)


def _evidence(
    network: LocalizationNetwork, recipe: Recipe, data: ChestXray14, cache: Path, stems: list[str]
) -> dict[str, NDArray[np.float32]]:
    """The network's evidence in some radiographs, by stem."""
    if not stems:
        return {}
    table = data.table.loc[stems]
    sides = sorted(data.table["native_side"].unique())
    dataset = RadiographDataset(table, cached_pixels(table, recipe.side, cache), sides)
    return dict(zip(table.index, predict(network, recipe.input_sides[-1], dataset)[1], strict=True))


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
        output_names=list(OUTPUTS),
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1024)},),
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    _strip_traces(file)


def _strip_traces(file: Path) -> None:
    """Take out where in the code each node was traced: paths of the machine that exported."""
    model = onnx.load(file)
    for node in (
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        del node.metadata_props[:]
        node.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    onnx.save(model, file)


def _describe_calibration(
    calibration: Calibration,
    setting: HeatSetting,
    logits: NDArray[np.float64],
    labels: NDArray[np.bool_],
    *,
    gate: bool,
) -> dict[str, object]:
    before = 1 / (1 + np.exp(-logits))
    after = calibration.probabilities(logits)
    return {
        "method": "Platt scaling on the validation part of train_val_list",
        "operating_points": "largest Youden index on the validation part; 5 % called positive "
        "where it holds fewer than 10 positives",
        "heat": setting._asdict(),
        "heat_chosen_by": heat_setting.RULE,
        "box_thresholds": box_thresholds.RULE,
        "appearance": appearance_limits.RULE if gate else "none was fitted",
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
