import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest

from localization import DISEASES, BundleRefused, Compute, Localizer, ModelBundle
from localization.bundle import sha256

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may spoil."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def edit(bundle: Path, change: Edit) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def reference(
    bounds: Sequence[float] = (0.1, 1.0),
    shares: Sequence[float] = (0.75, 0.25),
    diseases: Sequence[str] = DISEASES,
) -> dict[str, Any]:
    bins = {"bounds": bounds, "shares": shares}
    return {
        "data": "made up",
        "radiographs": 4,
        "rule": "none",
        "diseases": dict.fromkeys(diseases, bins),
    }


def test_a_sound_reference_is_read(bundle: Path) -> None:
    assert ModelBundle.load(bundle).manifest.reference is None
    edit(bundle, lambda manifest: manifest.update(reference=reference()))
    read = ModelBundle.load(bundle).manifest.reference
    assert read is not None
    assert read.diseases["Mass"].shares == (0.75, 0.25)


def test_a_sound_bundle_says_what_it_is(tiny_bundle: Path) -> None:
    manifest = ModelBundle.load(tiny_bundle).manifest
    assert (manifest.name, manifest.version, manifest.diseases) == ("tiny", "1", DISEASES)


def test_a_changed_graph_is_refused(bundle: Path) -> None:
    with (bundle / "model.onnx").open("ab") as graph:
        graph.write(b"\0")
    with pytest.raises(BundleRefused, match="sha256"):
        ModelBundle.load(bundle)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleRefused, match=name):
        ModelBundle.load(bundle)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.pop("version"), "version"),
        (lambda m: m.update(colour="red"), "colour"),
        (lambda m: m.update(side=-1), "side"),
        (lambda m: m.update(diseases=m["diseases"][::-1]), "diseases"),
        (lambda m: m["operating_points"].pop("Mass"), "Mass"),
        (lambda m: m["operating_points"].update(Mass=1.5), "Mass"),
        (lambda m: m.update(files={}), "no hash of model.onnx"),
        (lambda m: m.update(graphs={"int8": "small.onnx"}), "no hash of small.onnx"),
        (lambda m: m.update(graphs={"fp8": "model.onnx"}), "graphs.fp8"),
        (lambda m: m.update(fastest="int8"), "names no int8 graph"),
        (lambda m: m.update(fastest="fp8"), "fastest"),
        (lambda m: m.update(reference=reference(bounds=[0.5, 1.0])), "no bounds .0.5."),
        (lambda m: m.update(reference=reference(bounds=[1.0, 0.1])), "rise to 1"),
        (lambda m: m.update(reference=reference(bounds=[0.01, 0.1])), "rise to 1"),
        (lambda m: m.update(reference=reference(bounds=[1.0])), "1 bounds for 2 shares"),
        (lambda m: m.update(reference=reference(shares=[0.5, 0.4])), "add up to 0.9"),
        (lambda m: m.update(reference=reference(shares=[1.0, 0.0])), "reference"),
        (lambda m: m.update(reference=reference(diseases=DISEASES[1:])), DISEASES[0]),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(bundle: Path, change: Edit, reason: str) -> None:
    edit(bundle, change)
    with pytest.raises(BundleRefused, match=reason):
        ModelBundle.load(bundle)


def test_a_manifest_from_before_there_were_precisions_is_one_of_fp32(bundle: Path) -> None:
    def forget(manifest: dict[str, Any]) -> None:
        for key in ("graphs", "fastest", "quantization"):
            manifest.pop(key, None)

    edit(bundle, forget)
    localizer = Localizer(ModelBundle.load(bundle), Compute("cpu"))
    assert localizer.precision == "fp32"
    assert localizer.bundle.graph() == bundle / "model.onnx"


@pytest.mark.parametrize("change", [{"side": 64}, {"grid": [9, 8]}, {"steps": 2}])
def test_a_graph_of_other_shapes_than_the_manifest_is_refused(
    bundle: Path, change: dict[str, Any]
) -> None:
    edit(bundle, lambda manifest: manifest.update(change))
    with pytest.raises(BundleRefused, match="inputs and outputs"):
        Localizer(ModelBundle.load(bundle), Compute("cpu"))


def test_a_graph_of_one_batch_size_is_refused(bundle: Path) -> None:
    graph = onnx.load(bundle / "model.onnx")
    for tensor in (*graph.graph.input, *graph.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(graph, bundle / "model.onnx")
    edit(bundle, lambda m: m["files"].update({"model.onnx": sha256(bundle / "model.onnx")}))
    with pytest.raises(BundleRefused, match="one size only"):
        Localizer(ModelBundle.load(bundle), Compute("cpu"))


def test_a_graph_that_is_none_is_refused(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"not a graph")
    edit(bundle, lambda m: m["files"].update({"model.onnx": sha256(bundle / "model.onnx")}))
    with pytest.raises(BundleRefused, match="cannot be opened"):
        Localizer(ModelBundle.load(bundle), Compute("cpu"))
