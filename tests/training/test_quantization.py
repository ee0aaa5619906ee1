"""Smaller numbers beside fp32: what is made smaller, how near it stays, when it is served."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from localization import DISEASES, Compute, Localizer, ModelBundle, shipped_bundle
from localization.bundle import sha256
from localization.session import OUTPUTS
from training.augmentation import enlarge
from training.calibration import Calibration
from training.dataset import ChestXray14, RadiographDataset
from training.export import write_graph
from training.heat import HeatMaps, HeatSetting, fit_heat
from training.network import LocalizationNetwork
from training.quantization import (
    COMPARED,
    FILES,
    HEAD,
    RULE,
    SPARED,
    body,
    quantize,
    serves_as_well,
    write_fp16,
    write_int8,
)
from training.recipe import MiningRecipe, Recipe
from training.served import ServedNetwork
from training.train import open_part

# The ranges of a mining step, which is not quantized, hold infinities; ONNX Runtime reckons with
# them all the same.
pytestmark = pytest.mark.filterwarnings(
    "ignore:invalid value encountered:RuntimeWarning:onnxruntime.quantization.quant_utils"
)


@pytest.fixture(scope="module")
def part(data: ChestXray14, tiny_recipe: Recipe, checkpoint: Path) -> RadiographDataset:
    return open_part(data, "training", tiny_recipe.side, checkpoint.parent / "cache")


@pytest.fixture(scope="module")
@torch.inference_mode()
def graph(
    tiny_recipe: Recipe, part: RadiographDataset, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Of a network that was taught at random, so that its answers vary, with a mining step."""
    torch.manual_seed(0)
    network = LocalizationNetwork(tiny_recipe.network.model_copy(update={"context": 3})).eval()
    torch.nn.init.normal_(network.head.weight, std=0.5)
    torch.nn.init.normal_(network.context.mix.weight, std=0.1)
    side = tiny_recipe.input_sides[-1]
    seen = torch.tensor(np.asarray(part.pixels))[:, None]
    logits, maps, _ = network.look_twice(enlarge(seen, side))
    # Each disease's probability is spread over the radiographs, and half of them are mined.
    scale = 1 / logits.std(dim=0).double().numpy()
    offset = -scale * logits.mean(dim=0).double().numpy()
    calibration = Calibration(scale, offset, np.full(len(DISEASES), 0.5))
    setting = HeatSetting(shared=0.5, location=1.0, usual=0.5, contrast=2.0)
    heat = HeatMaps(fit_heat(maps.numpy(), part.labels.numpy().astype(bool), setting))
    file = tmp_path_factory.mktemp("graph") / "model.onnx"
    write_graph(
        ServedNetwork(network, side, calibration, heat, MiningRecipe(steps=1)),
        tiny_recipe.side,
        file,
    )
    return file


@pytest.fixture(scope="module")
def int8(graph: Path, part: RadiographDataset) -> Path:
    write_int8(graph, graph.with_name(FILES["int8"]), part)
    return graph.with_name(FILES["int8"])


@pytest.fixture(scope="module")
def fp16(graph: Path) -> Path:
    write_fp16(graph, graph.with_name(FILES["fp16"]))
    return graph.with_name(FILES["fp16"])


def answers(file: Path, radiographs: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return dict(zip(OUTPUTS, session.run(OUTPUTS, {"radiographs": radiographs}), strict=True))


def apart(
    one: dict[str, NDArray[np.float32]], other: dict[str, NDArray[np.float32]], output: str
) -> float:
    """The mean difference, of outputs that are worth a comparison."""
    assert one[output].dtype == other[output].dtype == np.float32
    assert one[output].std(axis=0).mean() > 0.05
    return float(np.abs(one[output] - other[output]).mean())


def convolutions(file: Path) -> list[onnx.NodeProto]:
    return [node for node in onnx.load(file).graph.node if node.op_type == "Conv"]


def test_int8_says_nearly_what_fp32_says(graph: Path, int8: Path, part: RadiographDataset) -> None:
    radiographs = np.asarray(part.pixels)[:, None]
    whole, small = answers(graph, radiographs), answers(int8, radiographs)
    assert apart(whole, small, "probabilities") < 0.1
    assert apart(whole, small, "heatmaps") < 0.1
    assert int8.stat().st_size != graph.stat().st_size


def test_fp16_says_what_fp32_says_on_a_cpu_too(
    graph: Path, fp16: Path, part: RadiographDataset
) -> None:
    radiographs = np.asarray(part.pixels)[:, None]
    whole, small = answers(graph, radiographs), answers(fp16, radiographs)
    assert apart(whole, small, "probabilities") < 0.02
    assert apart(whole, small, "heatmaps") < 0.02


def test_the_body_is_quantized_but_for_its_first_convolutions(graph: Path, int8: Path) -> None:
    model = onnx.load(int8)
    makers = {output: node for node in model.graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    inside = {node.name for node in body(onnx.load(graph)) if node.op_type == "Conv"}
    quantized = []
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        sources = [makers.get(name) for name in node.input[:2]]
        kinds = {"" if source is None else source.op_type for source in sources}
        if kinds == {"DequantizeLinear"}:
            quantized.append(node.name)
            weight = sources[1]
            stored, scales = (constants[name] for name in weight.input[:2])
            assert stored.data_type == TensorProto.INT8
            assert list(scales.dims) == [stored.dims[0]], "not per channel"
            assert makers[sources[0].input[0]].op_type == "QuantizeLinear"
        else:
            assert "DequantizeLinear" not in kinds, f"{node.name} is half quantized"
    names = [node.name for node in convolutions(int8) if node.name in inside]
    assert len(names) > SPARED + 10
    assert quantized == names[SPARED:]


def test_the_head_and_the_mining_steps_are_not_of_the_body(graph: Path) -> None:
    outside = {node.name for node in convolutions(graph)} - {
        node.name for node in body(onnx.load(graph))
    }
    heads = {node.name for node in convolutions(graph) if HEAD in node.input}
    assert len(heads) == 1
    assert heads <= outside


def test_fp16_halves_the_bodys_weights_alone(graph: Path, fp16: Path) -> None:
    model = onnx.load(fp16)
    constants = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    inside = {node.name for node in body(onnx.load(graph))}
    weights = {
        node.name: constants[node.input[1].removesuffix("_cast_to_fp32")]
        for node in convolutions(fp16)
    }
    assert {kind for name, kind in weights.items() if name in inside} == {TensorProto.FLOAT16}
    assert {kind for name, kind in weights.items() if name not in inside} == {TensorProto.FLOAT}


def test_a_graph_without_the_projects_head_is_refused(tiny_bundle: Path) -> None:
    with pytest.raises(ValueError, match=r"network\.head\.weight"):
        body(onnx.load(tiny_bundle / "model.onnx"))


FP32 = dict.fromkeys(COMPARED, 0.5) | {"milliseconds": 10.0}


def with_int8(**changes: float) -> dict[str, Any]:
    return {"fp32": FP32, "int8": FP32 | {"milliseconds": 9.0} | changes}


def test_int8_is_served_where_it_is_faster_and_as_good() -> None:
    assert serves_as_well(with_int8())


def test_int8_is_served_where_each_loss_is_just_inside_its_bound() -> None:
    assert serves_as_well(with_int8(**{name: 0.5001 - loss for name, loss in COMPARED.items()}))


def test_int8_is_served_where_it_is_better() -> None:
    assert serves_as_well(with_int8(**dict.fromkeys(COMPARED, 0.9)))


@pytest.mark.parametrize("milliseconds", [10.0, 10.1])
def test_int8_is_not_served_where_it_is_no_faster(milliseconds: float) -> None:
    assert not serves_as_well(with_int8(milliseconds=milliseconds))


@pytest.mark.parametrize(("figure", "loss"), COMPARED.items())
def test_int8_is_not_served_where_one_figure_loses_more_than_its_bound(
    figure: str, loss: float
) -> None:
    better = dict.fromkeys(COMPARED, 0.9)
    assert not serves_as_well(with_int8(**better | {figure: 0.4999 - loss}))


@pytest.fixture
def copy(bundle: ModelBundle, tmp_path: Path) -> Path:
    """A bundle that a test may quantize."""
    return Path(shutil.copytree(bundle.folder, tmp_path / "tiny-net"))


@pytest.mark.parametrize("half", [False, True])
def test_a_quantized_bundle_holds_what_its_manifest_says(
    copy: Path, data: ChestXray14, checkpoint: Path, half: bool
) -> None:
    before = ModelBundle.load(copy).manifest
    made = quantize(copy, data, checkpoint.parent / "cache", half=half)
    manifest = ModelBundle.load(copy).manifest
    assert made.manifest == manifest
    assert set(manifest.graphs) == ({"fp32", "int8", "fp16"} if half else {"fp32", "int8"})
    for file in manifest.graphs.values():
        assert manifest.files[file] == sha256(copy / file)
    kept = before.model_dump(exclude={"files", "graphs", "fastest", "quantization"})
    assert manifest.model_dump(include=set(kept)) == kept
    assert manifest.files["model.onnx"] == before.files["model.onnx"]
    compared = manifest.quantization
    assert compared["rule"] == RULE
    for precision in ("fp32", "int8"):
        assert set(compared[precision]) == {*COMPARED, "milliseconds"}
        assert compared[precision]["milliseconds"] > 0
    assert manifest.fastest == ("int8" if serves_as_well(compared) else "fp32")
    assert Localizer(made, Compute("cpu")).precision == manifest.fastest
    for precision in manifest.graphs:
        side = manifest.side
        Localizer(made, Compute("cpu", precision)).infer(np.zeros((3, 1, side, side), np.uint8))


@pytest.mark.parametrize("verdict", [True, False])
def test_the_rule_alone_decides_what_a_cpu_is_served_by(
    copy: Path,
    data: ChestXray14,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    verdict: bool,
) -> None:
    asked: list[dict[str, Any]] = []

    def judge(compared: dict[str, Any]) -> bool:
        asked.append(compared)
        return verdict

    monkeypatch.setattr("training.quantization.serves_as_well", judge)
    manifest = quantize(copy, data, checkpoint.parent / "cache").manifest
    assert manifest.fastest == ("int8" if verdict else "fp32")
    [compared] = asked
    assert {name: manifest.quantization[name] for name in compared} == compared


def test_a_bundle_can_be_quantized_again(copy: Path, data: ChestXray14, checkpoint: Path) -> None:
    first = quantize(copy, data, checkpoint.parent / "cache").manifest
    second = quantize(copy, data, checkpoint.parent / "cache").manifest
    assert second.files == first.files
    assert second.graphs == first.graphs


def test_the_shipped_bundle_is_served_by_int8_as_its_own_figures_allow() -> None:
    manifest = ModelBundle.load(shipped_bundle()).manifest
    assert manifest.fastest == "int8"
    assert manifest.quantization["rule"] == RULE
    assert serves_as_well(manifest.quantization)
    whole, small = manifest.quantization["fp32"], manifest.quantization["int8"]
    assert small["milliseconds"] < whole["milliseconds"]
    for figure, loss in COMPARED.items():
        assert small[figure] >= whole[figure] - loss, figure
