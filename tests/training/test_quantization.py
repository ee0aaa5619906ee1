"""Smaller numbers beside fp32: what is made smaller, how near it stays, when it is served."""

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from appearance_helpers import any_appearance
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

# The ranges of a mining step, which is not quantized, hold infinities; ONNX Runtime reckons with
# them all the same.

SIDE = 64


def random_radiographs(count: int, seed: int) -> NDArray[np.uint8]:
    """Shades of random brightness and contrast, `[count, side, side]`, with some noise."""
    random = np.random.default_rng(seed)
    shades = [
        cv2.resize(random.uniform(*sorted(random.uniform(0, 255, 2)), (5, 5)), (SIDE, SIDE))
        for _ in range(count)
    ]
    return (np.stack(shades) + random.normal(0, 8, (count, SIDE, SIDE))).clip(0, 255).astype("u1")


@pytest.fixture(scope="module")
def part() -> RadiographDataset:
    table = pd.DataFrame(np.eye(48, len(DISEASES), dtype=bool), columns=list(DISEASES))
    return RadiographDataset(table.assign(native_side=1024), random_radiographs(48, 0), [1024])


@pytest.fixture(scope="module")
def radiographs() -> NDArray[np.uint8]:
    """Others than those that the ranges are measured on."""
    return random_radiographs(16, 1)[:, None]


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
    seen = torch.tensor(part.pixels)[:, None]
    logits, maps, _ = network.look_twice(enlarge(seen, side))
    # Each disease's probability is spread over the radiographs, and half of them are mined.
    scale = 1 / logits.std(dim=0).double().numpy()
    offset = -scale * logits.mean(dim=0).double().numpy()
    calibration = Calibration(scale, offset, np.full(len(DISEASES), 0.5))
    setting = HeatSetting(shared=0.5, location=1.0, usual=0.5, contrast=2.0)
    heat = HeatMaps(fit_heat(maps.numpy(), part.labels.numpy().astype(bool), setting))
    file = tmp_path_factory.mktemp("graph") / "model.onnx"
    write_graph(
        ServedNetwork(
            network, side, calibration, heat, any_appearance(network), MiningRecipe(steps=1)
        ),
        SIDE,
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


def test_int8_says_nearly_what_fp32_says(
    graph: Path, int8: Path, radiographs: NDArray[np.uint8]
) -> None:
    whole, small = answers(graph, radiographs), answers(int8, radiographs)
    assert apart(whole, small, "probabilities") < 0.05
    assert apart(whole, small, "heatmaps") < 0.05


def test_fp16_says_what_fp32_says_on_a_cpu_too(
    graph: Path, fp16: Path, radiographs: NDArray[np.uint8]
) -> None:
    whole, small = answers(graph, radiographs), answers(fp16, radiographs)
    assert apart(whole, small, "probabilities") < 0.02
    assert apart(whole, small, "heatmaps") < 0.02


def stored_as(file: Path) -> dict[str, int]:
    """The type of the weights of each convolution, as they lie in the file."""
    model = onnx.load(file)
    makers = {output: node for node in model.graph.node for output in node.output}
    constants = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    return {
        node.name: constants[
            makers[node.input[1]].input[0] if node.input[1] in makers else node.input[1]
        ]
        for node in convolutions(file)
    }


def inner_convolutions(graph: Path) -> list[str]:
    """Of the body, in their order."""
    return [node.name for node in body(onnx.load(graph)) if node.op_type == "Conv"]


def the_head(graph: Path) -> str:
    [head] = [node.name for node in convolutions(graph) if HEAD in node.input]
    return head


def test_the_head_and_the_mining_steps_are_not_of_the_body(graph: Path) -> None:
    outside = {node.name for node in convolutions(graph)} - set(inner_convolutions(graph))
    assert the_head(graph) in outside
    assert len(outside) > 1, "no mining step looks at a neighbourhood"


def test_the_body_is_int8_but_for_its_first_convolutions(graph: Path, int8: Path) -> None:
    inside, kinds = inner_convolutions(graph), stored_as(int8)
    assert len(inside) > SPARED + 10
    assert {kinds[name] for name in inside[:SPARED]} == {TensorProto.FLOAT}
    assert {kinds[name] for name in inside[SPARED:]} == {TensorProto.INT8}
    assert kinds[the_head(graph)] == TensorProto.FLOAT


def test_what_an_int8_convolution_takes_is_quantized_per_channel(graph: Path, int8: Path) -> None:
    model = onnx.load(int8)
    makers = {output: node for node in model.graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    inside = inner_convolutions(graph)[SPARED:]
    for node in (each for each in model.graph.node if each.name in inside):
        activations, weights = (makers[name] for name in node.input[:2])
        assert activations.op_type == weights.op_type == "DequantizeLinear", node.name
        assert makers[activations.input[0]].op_type == "QuantizeLinear", node.name
        assert constants[activations.input[2]].data_type == TensorProto.UINT8, node.name
        stored, scales = (constants[name] for name in weights.input[:2])
        assert list(scales.dims) == [stored.dims[0]], node.name


def test_the_body_is_fp16_and_the_head_fp32(graph: Path, fp16: Path) -> None:
    inside, kinds = inner_convolutions(graph), stored_as(fp16)
    assert {kinds[name] for name in inside} == {TensorProto.FLOAT16}
    assert kinds[the_head(graph)] == TensorProto.FLOAT


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
