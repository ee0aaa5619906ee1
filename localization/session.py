"""ONNX Runtime sessions: where a graph runs, in what precision, with how many threads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from localization.bundle import BundleRefused, ModelBundle, Precision

Provider = Literal["cpu", "cuda", "tensorrt"]

PROVIDERS: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

INPUT = "radiographs"
OUTPUTS = ("probabilities", "heatmaps", "step_heatmaps", "typicality", "presentation", "tones")

CPU_INFO = Path("/proc/cpuinfo")

INSTALL_GPU = "install requirements/gpu.txt, which holds onnxruntime-gpu in place of onnxruntime"


class ProviderUnavailable(RuntimeError):
    """The execution provider that was asked for is not to be had here."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Where and how a model runs."""

    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    """`auto` takes a CUDA device where the installed ONNX Runtime can use one."""
    precision: Literal["auto"] | Precision = "auto"
    """`auto`: see `choose_precision`."""
    threads: int = 0
    """That share one inference on a CPU; 0: all cores."""
    gpu_memory: int = 0
    """Bytes that ONNX Runtime may take of a GPU's memory; 0: no limit."""
    engines: Path | None = None
    """Folder in which TensorRT keeps the engines that it builds; without it, each start builds."""
    shared: bool = False
    """Whether several callers infer at once: on a CPU, one thread each is then the fastest, in a
    session of its own beside the one with all threads."""
    batch: int = 1
    """Largest batch that will be asked for: TensorRT builds its engines for batches up to it."""


@dataclass(frozen=True, slots=True)
class Session:
    """An open graph, and where it runs."""

    graph: onnxruntime.InferenceSession
    provider: Provider
    precision: Precision

    def run(self, radiographs: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The outputs, in the order of `OUTPUTS`, of uint8 `[batch, 1, side, side]`."""
        if self.provider == "cpu":
            return list(self.graph.run(OUTPUTS, {INPUT: radiographs}))
        return self.run_bound(radiographs)

    def run_bound(self, radiographs: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """As `run`, each array bound to where it lives: a GPU copies it there and back once."""
        binding = self.graph.io_binding()
        binding.bind_cpu_input(INPUT, radiographs)
        for name in OUTPUTS:
            binding.bind_output(name)
        self.graph.run_with_iobinding(binding)
        return list(binding.copy_outputs_to_cpu())


def open_session(bundle: ModelBundle, compute: Compute) -> Session:
    """Open a bundle's graph.

    Raises:
        ProviderUnavailable: a GPU was asked for and cannot be used.
        BundleRefused: the bundle has no graph of that precision, or it cannot be opened.
    """
    if compute.provider == "auto":
        try:
            return _open(bundle, compute, "cuda")
        except ProviderUnavailable:
            return _open(bundle, compute, "cpu")
    return _open(bundle, compute, compute.provider)


def _open(bundle: ModelBundle, compute: Compute, provider: Provider) -> Session:
    if provider != "cpu":
        _require(provider)
    precision = choose_precision(bundle, compute, provider)
    file = bundle.graph(precision)
    options = onnxruntime.SessionOptions()
    if provider == "cpu":
        options.intra_op_num_threads = compute.threads
        # Threads that spin while they wait for work would take the cores that decode and encode.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        graph = onnxruntime.InferenceSession(
            bundle.contents[precision],
            options,
            providers=provider_options(compute, provider, bundle.manifest.side),
        )
    except Exception as error:  # ONNX Runtime's own exceptions share no public base class.
        raise BundleRefused(f"{file} cannot be opened: {error}") from error
    # Where a GPU's libraries cannot be loaded, ONNX Runtime warns and takes the CPU.
    if graph.get_providers()[0] != PROVIDERS[provider]:
        raise ProviderUnavailable(
            f"{provider} was asked for, but its libraries or its device cannot be used here; "
            "ONNX Runtime's own message above says why."
        )
    return Session(graph, provider, precision)


def choose_precision(bundle: ModelBundle, compute: Compute, provider: Provider) -> Precision:
    """What is asked for; `auto` is what the manifest names on a CPU that can do it, else fp32."""
    if compute.precision != "auto":
        return compute.precision
    fastest = bundle.manifest.fastest
    if provider != "cpu" or (fastest == "int8" and not _has_exact_int8()):
        return "fp32"
    return fastest


def _has_exact_int8() -> bool:
    """Whether sums of int8 products cannot overflow, as they may on a CPU without VNNI."""
    flags = set(CPU_INFO.read_text().split()) if CPU_INFO.exists() else set()
    return not flags.isdisjoint(("avx512_vnni", "avx_vnni", "asimddp"))


def is_built_in(provider: Provider) -> bool:
    """Whether the installed ONNX Runtime has an execution provider."""
    return PROVIDERS[provider] in onnxruntime.get_available_providers()


def _require(provider: Provider) -> None:
    if not is_built_in(provider):
        raise ProviderUnavailable(
            f"{provider} was asked for, but the installed ONNX Runtime has no such provider: "
            f"{INSTALL_GPU}."
        )
    # CUDA's own packages are not on the loader's path.
    onnxruntime.preload_dlls()


def provider_options(
    compute: Compute, provider: Provider, side: int
) -> list[tuple[str, dict[str, Any]]]:
    """The providers that ONNX Runtime is to use, best first, with their options.

    TensorRT leaves what it cannot run to CUDA. `side` is that of the graph's input.
    """
    if provider == "cpu":
        return [(PROVIDERS["cpu"], {})]
    cuda = (PROVIDERS["cuda"], _cuda(compute))
    if provider == "cuda":
        return [cuda]
    return [(PROVIDERS["tensorrt"], _tensorrt(compute, side)), cuda]


def _cuda(compute: Compute) -> dict[str, Any]:
    # Memory is taken as it is needed, not in powers of two. An exhaustive search for the fastest
    # convolutions would take its seconds for each size of batch.
    options: dict[str, Any] = {
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    if compute.gpu_memory:
        options["gpu_mem_limit"] = compute.gpu_memory
    return options


def _tensorrt(compute: Compute, side: int) -> dict[str, Any]:
    options: dict[str, Any] = {
        "trt_fp16_enable": compute.precision == "fp16",
        # One engine for all batches: without bounds, each new size would build another.
        "trt_profile_min_shapes": f"radiographs:1x1x{side}x{side}",
        "trt_profile_opt_shapes": f"radiographs:{compute.batch}x1x{side}x{side}",
        "trt_profile_max_shapes": f"radiographs:{compute.batch}x1x{side}x{side}",
    }
    if compute.gpu_memory:
        options["trt_max_workspace_size"] = compute.gpu_memory
    if compute.engines is not None:
        options |= {
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(compute.engines),
            "trt_timing_cache_enable": True,
        }
    return options
