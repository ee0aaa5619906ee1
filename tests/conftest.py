"""A tiny bundle of a model that a test can foresee: bright pixels are the disease."""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from fsspec.implementations.local import LocalFileSystem
from onnx import TensorProto, helper, numpy_helper

from harvesting.items import Item
from harvesting.plan import Plan
from harvesting.rows import Rows
from harvesting.run import RUN, Counts, Mode, Model, Run
from harvesting.storage import write_shard
from localization import DISEASES
from localization.bundle import sha256

SIDE, CELLS = 32, 8


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose heat map of every disease is the radiograph's own brightness.

    Its probabilities are the mean brightness, divided by 1, 2, ... 14 in the diseases' order.
    """
    folder = tmp_path_factory.mktemp("tiny")
    onnx.save(_brightness_graph(), folder / "model.onnx")
    (folder / "manifest.json").write_text(json.dumps(_manifest(folder)))
    return folder


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Writes a finished data set of given rows: `write_dataset([shard, shard, ...], mode=...)`."""

    def write_them(
        shards: Sequence[Rows], *, mode: Mode = "labelled", source: str = "archive"
    ) -> Path:
        folder = tmp_path / "harvested"
        files = LocalFileSystem()
        for number, rows in enumerate(shards):
            write_shard(files, str(folder), number, rows)
        radiographs = [row for rows in shards for row in rows.radiographs]
        findings = [row for rows in shards for row in rows.findings]
        failed = Counter(str(row.reason) for row in radiographs if row.outcome == "failed")
        run = Run(
            source=source,
            mode=mode,
            model=Model(
                name="tiny",
                version="1.0.0",
                precision="fp32",
                sha256="0" * 64,
                operating_points=dict.fromkeys(DISEASES, 0.25),
            ),
            command=["cxr-localizer", "harvest", source],
            shards=len(shards),
            files=len(radiographs),
            settings={},
            counts=Counts(
                radiographs=len(radiographs),
                localized=len(radiographs) - failed.total(),
                failed=dict(failed),
                findings=len(findings),
                boxes=sum(len(row.boxes) for row in findings),
                disagreements=sum(len(rows.disagreements) for rows in shards),
            ),
            timings={"seconds": 1.0, "radiographs_per_second": float(len(radiographs))},
            finished=True,
        )
        Plan.of([Item(row.path) for row in radiographs], 1).write(files, str(folder))
        (folder / RUN).write_text(run.model_dump_json(indent=2))
        return folder

    return write_them


@pytest.fixture(scope="session")
def chestxray14() -> Path:
    """The ChestX-ray14 folder; tests that need it are skipped, by name, where it is not."""
    folder = Path(os.environ.get("CHESTXRAY14_DIR", "../shared/nih-chestxray14"))
    if not folder.is_dir():
        pytest.skip("ChestX-ray14 is not here: set CHESTXRAY14_DIR to its folder.")
    return folder


def _brightness_graph() -> onnx.ModelProto:
    count = len(DISEASES)
    shares = np.array([1 / (k + 1) for k in range(count)], np.float32)
    cell = SIDE // CELLS
    constants = {
        "scale": np.array(1 / 255, np.float32),
        "shares": shares.reshape(1, count),
        "to_all": np.array([1, count, 1, 1], np.int64),
        "image_axes": np.array([1, 2, 3], np.int64),
        "step_axis": np.array([1], np.int64),
        "upright": np.array([1, 0, 0, 0], np.float32).reshape(1, 4),
        "contrasty": np.array([60, 0], np.float32).reshape(1, 2),
        "zero": np.array(0, np.float32),
        "certain": np.array(1, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["radiographs"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["unit"]),
        helper.make_node(
            "AveragePool", ["unit"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]
        ),
        helper.make_node("Expand", ["cells", "to_all"], ["heatmaps"]),
        helper.make_node("Unsqueeze", ["heatmaps", "step_axis"], ["step_heatmaps"]),
        helper.make_node("ReduceMean", ["unit", "image_axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "step_axis"], ["column"]),
        helper.make_node("Mul", ["column", "shares"], ["probabilities"]),
        # Whatever it is shown looks typical, upright and full of contrast.
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "certain"], ["typicality"]),
        helper.make_node("Mul", ["column", "zero"], ["nothings"]),
        helper.make_node("Add", ["nothings", "upright"], ["presentation"]),
        helper.make_node("Add", ["nothings", "contrasty"], ["tones"]),
    ]
    shapes = {
        "probabilities": [count],
        "heatmaps": [count, CELLS, CELLS],
        "step_heatmaps": [1, count, CELLS, CELLS],
        "typicality": [],
        "presentation": [4],
        "tones": [2],
    }
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("radiographs", TensorProto.UINT8, ["batch", 1, SIDE, SIDE])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
            for name, shape in shapes.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _manifest(folder: Path) -> dict[str, object]:
    return {
        "name": "tiny",
        "version": "1",
        "licence": "Apache-2.0",
        "files": {"model.onnx": sha256(folder / "model.onnx")},
        "diseases": DISEASES,
        "side": SIDE,
        "grid": [CELLS, CELLS],
        "steps": 1,
        "operating_points": dict.fromkeys(DISEASES, 0.2),
        "box_thresholds": {disease: [60 / 255, 180 / 255] for disease in DISEASES},
        "appearance": {"refused": 0.0, "doubtful": 0.0, "presentation": 1.0},
        "calibration": {},
        "training": {},
    }
