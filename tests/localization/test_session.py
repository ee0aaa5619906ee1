"""Where a graph runs, in which precision, with how many threads."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from localization import (
    BundleRefused,
    Compute,
    Localizer,
    ModelBundle,
    ProviderUnavailable,
    session,
    shipped_bundle,
)
from localization.bundle import Precision, sha256
from localization.session import open_session, provider_options


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> ModelBundle:
    return ModelBundle.load(tiny_bundle)


@pytest.fixture(scope="module")
def two_graphs(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    """The tiny bundle with its graph a second time, as int8, the fastest."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("two") / "bundle"))
    shutil.copy(folder / "model.onnx", folder / "model.int8.onnx")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["graphs"] = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
    manifest["files"]["model.int8.onnx"] = sha256(folder / "model.int8.onnx")
    manifest["fastest"] = "int8"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return ModelBundle.load(folder)


def options_of(compute: Compute, side: int = 128) -> dict[str, dict[str, Any]]:
    assert compute.provider != "auto"
    return dict(provider_options(compute, compute.provider, side))


def random_inputs(bundle: ModelBundle, count: int) -> np.ndarray:
    side = bundle.manifest.side
    return np.random.default_rng(0).integers(0, 256, (count, 1, side, side), np.uint8)


def test_a_cpu_is_asked_for_nothing_in_particular() -> None:
    assert options_of(Compute("cpu", gpu_memory=2**30)) == {"CPUExecutionProvider": {}}


def test_cuda_takes_memory_as_it_needs_it_and_without_a_limit_unless_one_is_set() -> None:
    [(name, options)] = options_of(Compute("cuda")).items()
    assert name == "CUDAExecutionProvider"
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert "gpu_mem_limit" not in options
    limited = options_of(Compute("cuda", gpu_memory=2**30))["CUDAExecutionProvider"]
    assert limited == options | {"gpu_mem_limit": 2**30}


def test_tensorrt_leaves_to_cuda_what_it_cannot_run() -> None:
    options = options_of(Compute("tensorrt", gpu_memory=2**30))
    assert list(options) == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]
    cuda = options_of(Compute("cuda", gpu_memory=2**30))["CUDAExecutionProvider"]
    assert options["CUDAExecutionProvider"] == cuda


@pytest.mark.parametrize(
    ("precision", "half"), [("auto", False), ("fp32", False), ("int8", False), ("fp16", True)]
)
def test_tensorrt_computes_in_fp16_only_where_it_was_asked_to(
    precision: Precision, half: bool
) -> None:
    options = options_of(Compute("tensorrt", precision))["TensorrtExecutionProvider"]
    assert options["trt_fp16_enable"] is half


def test_tensorrt_builds_one_engine_for_all_batches_up_to_the_largest() -> None:
    options = options_of(Compute("tensorrt", batch=8), side=96)["TensorrtExecutionProvider"]
    shapes = {bound: options[f"trt_profile_{bound}_shapes"] for bound in ("min", "opt", "max")}
    assert shapes["min"] == "radiographs:1x1x96x96"
    assert shapes["opt"] == shapes["max"] == "radiographs:8x1x96x96"


def test_tensorrt_keeps_its_engines_only_where_a_folder_is_given(tmp_path: Path) -> None:
    without = options_of(Compute("tensorrt"))["TensorrtExecutionProvider"]
    assert not [option for option in without if "cache" in option]
    options = options_of(Compute("tensorrt", engines=tmp_path))["TensorrtExecutionProvider"]
    assert options["trt_engine_cache_enable"] is True
    assert options["trt_engine_cache_path"] == str(tmp_path)


def test_tensorrts_workspace_has_the_memory_limit_only_where_one_is_set() -> None:
    without = options_of(Compute("tensorrt"))["TensorrtExecutionProvider"]
    assert "trt_max_workspace_size" not in without
    limited = options_of(Compute("tensorrt", gpu_memory=2**30))["TensorrtExecutionProvider"]
    assert limited["trt_max_workspace_size"] == 2**30


@pytest.mark.parametrize("count", [1, 3])
def test_bound_arrays_give_the_same_answer(bundle: ModelBundle, count: int) -> None:
    session = open_session(bundle, Compute("cpu"))
    inputs = random_inputs(bundle, count)
    for plain, bound in zip(session.run(inputs), session.run_bound(inputs), strict=True):
        assert plain.shape[0] == count
        np.testing.assert_array_equal(plain, bound)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_precision_that_a_bundle_lacks_is_refused_and_those_it_has_are_named(
    bundle: ModelBundle, precision: Precision
) -> None:
    with pytest.raises(BundleRefused, match=rf"no {precision} graph; it has fp32\."):
        Localizer(bundle, Compute("cpu", precision))


def test_every_precision_that_a_bundle_has_is_named(two_graphs: ModelBundle) -> None:
    with pytest.raises(BundleRefused, match=r"no fp16 graph; it has fp32, int8\."):
        Localizer(two_graphs, Compute("cpu", "fp16"))


def test_a_cpu_is_served_by_the_graph_that_the_manifest_calls_the_fastest(
    two_graphs: ModelBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("flags : avx512_vnni\n")
    monkeypatch.setattr(session, "CPU_INFO", info)
    assert Localizer(two_graphs, Compute("cpu")).precision == "int8"
    assert Localizer(two_graphs, Compute("cpu", "fp32")).precision == "fp32"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(("threads", "tolerance"), [(2, 0.0), (4, 2e-6)])
def test_a_crowded_inference_says_what_one_with_all_threads_says(
    precision: Precision, threads: int, tolerance: float
) -> None:
    """Bit for bit with two threads; from three on, a last bit of a heat map may differ, as sums
    are split otherwise."""
    bundle = ModelBundle.load(shipped_bundle())
    localizer = Localizer(bundle, Compute("cpu", precision, threads, shared=True))
    inputs = random_inputs(bundle, 2)
    alone, crowded = (localizer.infer(inputs, alone=alone) for alone in (True, False))
    for one, other in zip(alone, crowded, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_that_the_runtime_cannot_use_is_refused_with_what_to_install(
    bundle: ModelBundle, provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderUnavailable, match=rf"{provider} .*requirements/gpu\.txt"):
        Localizer(bundle, Compute(provider))
    assert Localizer(bundle, Compute("auto")).provider == "cpu"


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_runtime_that_takes_the_cpu_in_place_of_a_gpu_is_refused(
    bundle: ModelBundle, provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the GPU's libraries are not there: ONNX Runtime opens the graph all the same."""
    real = onnxruntime.InferenceSession

    def on_the_cpu(file: str, options: Any, providers: Any) -> onnxruntime.InferenceSession:
        return real(file, options, providers=["CPUExecutionProvider"])

    every = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: every)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", on_the_cpu)
    with pytest.raises(ProviderUnavailable, match=f"{provider} .*cannot be used here"):
        Localizer(bundle, Compute(provider))
    assert Localizer(bundle, Compute("auto")).provider == "cpu"


@pytest.mark.parametrize(("flags", "taken"), [("avx2", "fp32"), ("avx2 avx512_vnni", "int8")])
def test_int8_is_taken_by_itself_only_where_it_cannot_overflow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, taken: str
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"flags : fpu {flags}\n")
    monkeypatch.setattr(session, "CPU_INFO", info)
    bundle = ModelBundle.load(shipped_bundle())
    assert session.choose_precision(bundle, Compute("cpu"), "cpu") == taken
    assert session.choose_precision(bundle, Compute("cpu", "int8"), "cpu") == "int8"
