"""From files to a served answer: train, export, localize."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from appearance_helpers import any_appearance
from fastapi.testclient import TestClient

from localization import DISEASES, Compute, Localizer, ModelBundle, shipped_bundle
from service.app import create_app
from service.settings import Settings
from training.augmentation import enlarge
from training.calibration import Calibration
from training.dataset import ChestXray14
from training.export import WEIGHTS, write_graph
from training.heat import HeatMaps, HeatSetting, fit_heat
from training.network import LocalizationNetwork
from training.recipe import MiningRecipe, Recipe
from training.served import ServedNetwork
from training.train import LAST, load_network, train


def test_one_epoch_leaves_checkpoints_and_logs(checkpoint: Path) -> None:
    assert checkpoint.is_file()
    assert (checkpoint.parent / LAST).is_file()
    [log] = checkpoint.parent.glob("csv/*/metrics.csv")
    header, *rows = log.read_text().splitlines()
    assert "validation/auc" in header
    assert rows
    assert list((checkpoint.parent / "tensorboard").glob("*/events*"))
    assert (checkpoint.parent / "missing.txt").read_text() == "00000001_000\n"


def test_a_run_goes_on_from_its_last_epoch(
    data: ChestXray14, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    one_epoch = tiny_recipe.model_copy(update={"epochs": 1})
    train(one_epoch, data, tmp_path, tmp_path / "cache", progress=False)
    first = torch.load(tmp_path / LAST, weights_only=True)
    train(tiny_recipe, data, tmp_path, tmp_path / "cache", resume=True, progress=False)
    second = torch.load(tmp_path / LAST, weights_only=True)
    assert (first["epoch"], second["epoch"]) == (0, 1)
    assert second["global_step"] == 2 * first["global_step"]
    assert len(list(tmp_path.glob("csv/*/metrics.csv"))) == 2
    head = "network.head.weight"
    assert not torch.equal(first["state_dict"][head], second["state_dict"][head])


def test_a_share_of_the_patients_is_learned_from(
    data: ChestXray14, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = tiny_recipe.model_copy(update={"epochs": 1, "patients": 0.5, "batch": 1})
    train(recipe, data, tmp_path, tmp_path / "cache", progress=False)
    steps = torch.load(tmp_path / LAST, weights_only=True)["global_step"]
    assert steps == len(data.with_training_share(0.5).part("training"))
    assert steps < len(data.part("training"))


def test_another_run_is_not_written_over(
    checkpoint: Path, data: ChestXray14, tiny_recipe: Recipe
) -> None:
    with pytest.raises(FileExistsError, match="resume"):
        train(tiny_recipe, data, checkpoint.parent, checkpoint.parent / "cache", progress=False)


def test_to_resume_a_run_that_never_was_is_refused(
    data: ChestXray14, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=LAST):
        train(tiny_recipe, data, tmp_path, tmp_path / "cache", resume=True, progress=False)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "mining"),
    [("lite0", None), ("cam", None), ("lite0", MiningRecipe(steps=2)), ("cam", MiningRecipe())],
)
def test_the_exported_graph_says_what_torch_says(
    name: str, mining: MiningRecipe | None, tmp_path: Path
) -> None:
    """Parity to 1e-4, step by step, for one radiograph and for a batch."""
    torch.manual_seed(0)
    recipe = Recipe.load(name)
    network = _taught_at_random(recipe, 5 if mining else 0)
    random = np.random.default_rng(0)
    inputs = random.integers(0, 256, (5, 1, recipe.side, recipe.side), np.uint8)
    scale, offset = random.uniform(0.3, 0.9, (2, len(DISEASES)))
    # Some diseases are found in some radiographs: those are mined, the others are not.
    calibration = Calibration(scale, offset, np.full(len(DISEASES), 0.6))
    side = recipe.input_sides[-1]
    # As export does, over the maps' whole range: nothing may hide at 0 or 1.
    _, maps, _ = network.look_twice(enlarge(torch.tensor(inputs), side))
    labels = np.eye(len(maps), len(DISEASES), dtype=bool)
    setting = HeatSetting(shared=0.5, location=1.0, usual=0.5, contrast=2.0)
    heat = HeatMaps(fit_heat(maps.numpy(), labels, setting))
    served = ServedNetwork(network, side, calibration, heat, any_appearance(network), mining)
    write_graph(served, recipe.side, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for rows in (slice(0, 1), slice(0, 5)):
        exported = session.run(None, {"radiographs": inputs[rows]})
        for ours, theirs in zip(served(torch.tensor(inputs[rows])), exported, strict=True):
            assert theirs.ndim == 1 or np.ptp(theirs) > 0.1
            np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-4, rtol=1e-5)
    steps = exported[2]
    assert steps.shape[1] == (1 if mining is None else 3)
    assert all(steps[:, step].max() > 0 for step in range(steps.shape[1]))
    # Each cell was added by one step at most.
    assert (np.count_nonzero(steps, axis=1) <= 1).all()


def _taught_at_random(recipe: Recipe, context: int) -> LocalizationNetwork:
    network = LocalizationNetwork(recipe.network.model_copy(update={"context": context})).eval()
    torch.nn.init.normal_(network.head.weight, std=0.3)
    if context:
        torch.nn.init.normal_(network.context.mix.weight, std=0.05)
    return network


@torch.inference_mode()
def test_the_shipped_graph_is_the_shipped_network() -> None:
    """The committed weights, by torch and by ONNX Runtime: parity to 1e-4."""
    bundle = ModelBundle.load(shipped_bundle())
    recipe, network = load_network(bundle.folder / WEIGHTS)
    random = np.random.default_rng(0)
    inputs = random.integers(0, 256, (2, 1, recipe.side, recipe.side), np.uint8)
    images = enlarge(torch.tensor(inputs), recipe.input_sides[-1])
    logits, _, _ = network.look_twice(images)
    scale, offset = (torch.tensor(bundle.manifest.calibration[k]) for k in ("scale", "offset"))
    served = Localizer(bundle, Compute("cpu", "fp32")).infer(inputs)
    expected = torch.sigmoid(scale * logits + offset).numpy()
    np.testing.assert_allclose(served.probabilities, expected, atol=1e-4)


def test_a_trained_network_is_served(bundle: ModelBundle, data: ChestXray14) -> None:
    file = Path(data.part("test")["file"].iloc[0])
    with TestClient(create_app(Settings(model=bundle.folder, provider="cpu"))) as client:
        answer = client.post("/localize", content=file.read_bytes())
    assert answer.status_code == 200
    document = answer.json()
    assert document["model"] == {"name": "tiny-net", "version": "0.0.1"}
    assert len(document["findings"]) == 14
    assert (document["radiograph"]["width"], document["radiograph"]["height"]) == (128, 128)


def test_the_weights_beside_the_graph_are_the_trained_ones(
    bundle: ModelBundle, checkpoint: Path
) -> None:
    recipe, network = load_network(bundle.folder / WEIGHTS)
    trained_recipe, trained = load_network(checkpoint)
    assert recipe == trained_recipe
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name


def test_the_graph_names_no_file_of_the_machine_that_exported_it(bundle: ModelBundle) -> None:
    assert b"export.py" not in bundle.graph().read_bytes()
    assert b"network.py" not in bundle.graph().read_bytes()


def test_the_manifest_tells_how_the_model_was_made(bundle: ModelBundle) -> None:
    manifest = json.loads((bundle.folder / "manifest.json").read_text())
    assert manifest["training"]["recipe"]["network"]["backbone"] == "test_efficientnet"
    assert manifest["training"]["radiographs"]["training"] > 20
    assert set(manifest["operating_points"]) == set(DISEASES)
    assert "# tiny-net" in (bundle.folder / "MODEL_CARD.md").read_text()
