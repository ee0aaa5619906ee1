"""Smaller numbers for a trained graph: int8 for a CPU, fp16 for a GPU, beside fp32 in the bundle.

What is made smaller is the network's body, from its first convolution to the aggregated map. The
head, the mining steps and the heat maps are cheap, and stay in fp32; of a spatial context, which
mining steps run again, the weights are the body's.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from localization import Compute, Localizer, ModelBundle
from localization.appearance import AppearanceLimits
from localization.bundle import Manifest, Precision, sha256, write_manifest
from training.appearance_limits import choose_limits
from training.comparison import figures
from training.dataset import ChestXray14, RadiographDataset
from training.evaluation import predict, score_classification
from training.protocol import patient_groups, read_targets
from training.reference import record_reference
from training.train import open_part

FILES: dict[Precision, str] = {"int8": "model.int8.onnx", "fp16": "model.fp16.onnx"}
HEAD = "network.head.weight"
QUANTIZED = ("Conv", "Clip", "Relu", "Add", "MaxPool")
SPARED = 3
"""Convolutions next to the image that stay in fp32: the heat maps are most sensitive to them, and
so few channels leave int8 little to gain."""
CALIBRATION = 256
"""Radiographs of the training part from which the activations' ranges are measured."""
BATCH = 16

CLASSIFICATION_LOSS = 0.002
LOCALIZATION_LOSS = 0.005
RULE = (
    f"int8 is served on a CPU where it is faster and loses no more than {CLASSIFICATION_LOSS} of "
    f"the mean AUC on the validation part, and {LOCALIZATION_LOSS} of the pointing game and of "
    "Acc at equal AFP at each T(IoU) on the official boxes of even patient ids"
)
COMPARED = {
    "mean AUC": CLASSIFICATION_LOSS,
    "pointing game": LOCALIZATION_LOSS,
    "Acc at T(IoU) 0.1, mean of the AFPs": LOCALIZATION_LOSS,
    "Acc at T(IoU) 0.3, mean of the AFPs": LOCALIZATION_LOSS,
    "Acc at T(IoU) 0.5, mean of the AFPs": LOCALIZATION_LOSS,
}


def quantize(folder: Path, data: ChestXray14, cache: Path, *, half: bool = False) -> ModelBundle:
    """Add an int8 graph to a bundle, compare it with fp32, and name the one to serve; see `RULE`.

    The gate's limits and the reference are measured anew, of the graph that is named.

    Args:
        folder: of the bundle, which is rewritten.
        data: the official files: ranges from the training part, figures from the validation part
            and from the boxes of even patient ids.
        cache: folder of decoded radiographs.
        half: add an fp16 graph, too.
    """
    bundle = ModelBundle.load(folder)
    part = open_part(data, "training", bundle.manifest.side, cache)
    write_int8(bundle.graph(), folder / FILES["int8"], part)
    made: list[Precision] = ["int8"]
    if half:
        write_fp16(bundle.graph(), folder / FILES["fp16"])
        made.append("fp16")
    manifest = _with_graphs(bundle, made)
    write_manifest(manifest, folder)
    compared = _compare(ModelBundle.load(folder), data)
    fastest: Precision = "int8" if serves_as_well(compared) else "fp32"
    quantization = {
        "method": "QDQ, activations uint8, weights int8 per channel, ranges by MinMax over "
        f"{min(CALIBRATION, len(part))} radiographs of the training part",
        "rule": RULE,
        **compared,
    }
    manifest = manifest.model_copy(update={"fastest": fastest, "quantization": quantization})
    write_manifest(manifest, folder)
    limits = _limits(ModelBundle.load(folder), data, cache)
    write_manifest(manifest.model_copy(update={"appearance": limits}), folder)
    return record_reference(ModelBundle.load(folder), data)


def _limits(bundle: ModelBundle, data: ChestXray14, cache: Path) -> AppearanceLimits:
    """Those of the graph that a CPU is served by: typicality differs a little between the two."""
    training, validation = (
        open_part(data, part, bundle.manifest.side, cache) for part in ("training", "validation")
    )
    localizer = Localizer(bundle, Compute("cpu", bundle.manifest.fastest))
    return choose_limits(localizer, training, validation)


def _with_graphs(bundle: ModelBundle, made: list[Precision]) -> Manifest:
    manifest = bundle.manifest
    hashes = {FILES[each]: sha256(bundle.folder / FILES[each]) for each in made}
    return manifest.model_copy(
        update={
            "files": manifest.files | hashes,
            "graphs": manifest.graphs | {each: FILES[each] for each in made},
        }
    )


def serves_as_well(compared: dict[str, Any]) -> bool:
    """Whether int8 is faster and loses no more than `RULE` allows."""
    whole, small = compared["fp32"], compared["int8"]
    return bool(small["milliseconds"] < whole["milliseconds"]) and all(
        round(whole[figure] - small[figure], 4) <= loss for figure, loss in COMPARED.items()
    )


def write_int8(graph: Path, file: Path, part: RadiographDataset) -> None:
    """Write the int8 graph: quantized and dequantized (QDQ) around every node of the body.

    Args:
        graph: the fp32 ONNX file.
        file: to write.
        part: radiographs at the graph's side.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        # Constants folded and shapes known: what the quantizer asks for.
        quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
        inside = body(onnx.load(prepared))
        spared = [node.name for node in inside if node.op_type == "Conv"][:SPARED]
        names = [
            node.name for node in inside if node.op_type in QUANTIZED and node.name not in spared
        ]
        # It reckons with the ranges of what is not quantized, too: a mining step's hold infinities.
        with np.errstate(invalid="ignore"):
            quantize_static(
                prepared,
                file,
                _Calibration(part),
                quant_format=QuantFormat.QDQ,
                nodes_to_quantize=names,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )


def write_fp16(graph: Path, file: Path) -> None:
    """Write the fp16 graph: the body in fp16, inputs and outputs as they were."""
    model = onnx.load(graph)
    inside = {node.name for node in body(model)}
    outside = [node.name for node in model.graph.node if node.name not in inside]
    half = convert_float_to_float16(model, keep_io_types=True, node_block_list=outside)
    _keep_outside(half)
    onnx.save(half, file)


def _keep_outside(model: onnx.ModelProto) -> None:
    """Let what goes from one fp32 node to the next stay fp32: the converter brings it to fp16 and
    back."""
    makers = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        maker = makers.get(node.input[0]) if node.op_type == "Cast" else None
        back = node.name.endswith("_cast_to_fp32_node") or node.name.startswith("graph_output_cast")
        if back and maker is not None and maker.name.endswith("_cast_to_fp16_node"):
            node.input[0] = maker.input[0]


def body(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes from the first convolution to the aggregated map.

    Raises:
        ValueError: the graph has no head that the project's export would have named.
    """
    nodes = list(model.graph.node)
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    heads = [node for node in convolutions if HEAD in node.input]
    if not heads:
        raise ValueError(f"The graph has no convolution by {HEAD}: it is not one of export's.")
    before = _ancestors(nodes, convolutions[0].input[0])
    within = _ancestors(nodes, heads[0].input[0])
    return [node for node in nodes if node.name in within - before]


def _ancestors(nodes: list[onnx.NodeProto], value: str) -> set[str]:
    """The names of all nodes that a value is computed by."""
    makers = {output: node for node in nodes for output in node.output}
    found: set[str] = set()
    left = [value]
    while left:
        maker = makers.get(left.pop())
        if maker is not None and maker.name not in found:
            found.add(maker.name)
            left += maker.input
    return found


class _Calibration(CalibrationDataReader):
    """Some radiographs of a part, spread evenly over it, batch by batch."""

    def __init__(self, part: RadiographDataset) -> None:
        chosen = np.linspace(0, len(part) - 1, min(CALIBRATION, len(part))).astype(int)
        self._batches = self._read(part, chosen)

    def _read(
        self, part: RadiographDataset, chosen: NDArray[np.int64]
    ) -> Iterator[dict[str, NDArray[np.uint8]]]:
        for start in range(0, len(chosen), BATCH):
            yield {"radiographs": np.asarray(part.pixels[chosen[start : start + BATCH]])[:, None]}

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next batch, or nothing."""
        return next(self._batches, None)


def _compare(bundle: ModelBundle, data: ChestXray14) -> dict[str, Any]:
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    localizers = {
        precision: Localizer(bundle, Compute("cpu", precision, threads=1))
        for precision in precisions
    }
    seconds = median_seconds(list(localizers.values()))
    return {
        precision: _figures(localizer, data) | {"milliseconds": round(1000 * each, 1)}
        for (precision, localizer), each in zip(localizers.items(), seconds, strict=True)
    }


def _figures(localizer: Localizer, data: ChestXray14) -> dict[str, float]:
    validation = data.part("validation")
    areas = score_classification(validation, predict(localizer, validation, set()).probabilities)
    targets = patient_groups(read_targets(data))["even patients"]
    stems = {target.stem for target in targets}
    predictions = predict(localizer, data.table.loc[sorted(stems)], stems)
    cuts = localizer.bundle.manifest.box_thresholds
    shown = [predictions.show(target, cuts[target.disease]) for target in targets]
    all_figures = {"mean AUC": float(areas["all"]["mean"] or 0), **figures(targets, shown)}
    return {name: round(all_figures[name], 4) for name in COMPARED}


def median_seconds(localizers: list[Localizer], rounds: int = 50) -> list[float]:
    """Of one radiograph's inference, alone; one model after another in each round, as a machine's
    speed drifts."""
    times: list[list[float]] = [[] for _ in localizers]
    for _ in range(rounds):
        for localizer, own in zip(localizers, times, strict=True):
            side = localizer.bundle.manifest.side
            begin = time.perf_counter()
            localizer.infer(np.zeros((1, 1, side, side), np.uint8))
            own.append(time.perf_counter() - begin)
    return [float(np.median(own)) for own in times]
