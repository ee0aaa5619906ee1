"""The choices behind the service side by side: decoders, runtimes, what a session may use.

`python -m benchmark.parts`: milliseconds of each, in turns, as a machine's speed drifts.
"""

import argparse
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from statistics import median

import cv2
import imagecodecs
import numpy as np
import onnxruntime
import openvino
from kornia_rs import io as kornia
from numpy.typing import NDArray
from PIL import Image

from benchmark import radiographs
from benchmark.report import Page, machine, number, table
from localization import Compute, Localizer, ModelBundle, shipped_bundle
from localization.cores import cores
from localization.session import INPUT, OUTPUTS, choose_precision

Work = Callable[[], object]


def main() -> None:
    """Measure, and write the tables into the page."""
    options = _options()
    page = Page(options.output, "parts")
    cv2.setNumThreads(1)
    names = ("png-1024", "png-2500", "jpeg-1024", "jpeg-2500")
    decoders = [
        [name, *_milliseconds(_decoders(radiographs.make(name)), options.turns)] for name in names
    ]
    bundle = ModelBundle.load(shipped_bundle())
    runtimes, sessions = _runtimes(bundle), _sessions(bundle)
    page.write(
        f"{machine()} Beside them imagecodecs {imagecodecs.__version__}, OpenVINO "
        f"{openvino.__version__}. One thread but where it says more; medians of {options.turns} "
        "turns, in ms.\n\n"
        + table(("decoder", "Pillow", "OpenCV", "imagecodecs", "kornia-rs"), decoders)
        + "\n\n"
        + "\n\n".join(
            table(tuple(works), [_milliseconds(tuple(works.values()), options.turns)])
            for works in (runtimes, sessions)
        )
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmark.parts", description=__doc__)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path("docs/performance.md"))
    return parser.parse_args()


def _decoders(sample: radiographs.Sample) -> tuple[Work | None, ...]:
    """To gray levels, by each library; kornia-rs decodes no gray JPEG."""
    data, side = sample.data, int(sample.name.partition("-")[2])
    coded = np.frombuffer(data, np.uint8)
    is_png = sample.name.startswith("png")
    return (
        lambda: np.asarray(Image.open(BytesIO(data)).convert("L")),
        lambda: cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE),
        lambda: (imagecodecs.png_decode if is_png else imagecodecs.jpeg8_decode)(data),
        (lambda: kornia.decode_image_png_u8(data, (side, side), "mono")) if is_png else None,
    )


def _runtimes(bundle: ModelBundle) -> dict[str, Work]:
    """One radiograph's inference, by each runtime and precision."""
    side, inputs = bundle.manifest.side, _inputs(bundle)
    works: dict[str, Work] = {}
    for precision in ("fp32", "int8"):
        localizer = Localizer(bundle, Compute("cpu", precision, threads=1))
        works[f"ONNX Runtime {precision}"] = lambda localizer=localizer: localizer.infer(inputs)
    for precision in ("fp32", "int8"):
        request = _openvino(bundle.graph(precision), side)
        works[f"OpenVINO {precision}"] = lambda request=request: request.infer([inputs])
    return works


def _sessions(bundle: ModelBundle) -> dict[str, Work]:
    """One radiograph's inference by ONNX Runtime, in the precision that is served here."""
    precision = choose_precision(bundle, Compute(), "cpu")
    inputs = _inputs(bundle)
    graph = bundle.contents[precision]
    sessions = {
        f"{precision}, one thread": _session(graph),
        f"{precision}, one thread, no arena": _session(graph, arena=False),
        f"{precision}, all cores": _session(graph, threads=cores()),
        f"{precision}, all cores, spinning": _session(graph, threads=cores(), spins=True),
        "int8, exact without VNNI": _session(bundle.contents["int8"], exact=True),
    }
    return {
        name: lambda session=session: session.run(OUTPUTS, {INPUT: inputs})
        for name, session in sessions.items()
    }


def _session(
    graph: bytes,
    *,
    threads: int = 1,
    arena: bool = True,
    spins: bool = False,
    exact: bool = False,
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = arena
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    options.add_session_config_entry("session.x64quantprecision", str(int(exact)))
    # Else its threads would still spin while the next session is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _inputs(bundle: ModelBundle) -> NDArray[np.uint8]:
    return np.zeros((1, 1, bundle.manifest.side, bundle.manifest.side), np.uint8)


def _openvino(graph: Path, side: int) -> openvino.InferRequest:
    core = openvino.Core()
    model = core.read_model(graph)
    model.reshape([1, 1, side, side])
    # Without the hint OpenVINO would take bf16 for fp32 where the processor has it.
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(model, "CPU", options).create_infer_request()


def _milliseconds(works: tuple[Work | None, ...], turns: int) -> list[str]:
    times: list[list[float]] = [[] for _ in works]
    for _ in range(turns):
        for work, own in zip(works, times, strict=True):
            if work is not None:
                begin = time.perf_counter()
                work()
                own.append(1000 * (time.perf_counter() - begin))
    return [number(median(own)) if own else "–" for own in times]


if __name__ == "__main__":
    main()
