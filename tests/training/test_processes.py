"""Training in several processes, and in one that is killed: neither may change what is learned."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from training.dataset import ChestXray14
from training.network import LocalizationNetwork
from training.recipe import AugmentationRecipe, MiningRecipe, PreservationRecipe, Recipe
from training.train import LAST, save_network, train

STILL = AugmentationRecipe(
    flip=0, rotation=0, scale=0, translation=0, contrast=0, brightness=0, blur=0
)


def command(recipe: Recipe, files: Path, output: Path, *options: str) -> list[str]:
    """The command line that trains a recipe; two processes are started the same way."""
    output.mkdir(exist_ok=True)
    file = output / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    where = ["--data", files, "--output", output, "--cache", output.parent / "cache"]
    return [sys.executable, "-m", "commands", "train", *map(str, [file, *where]), *options]


def weights(output: Path) -> dict[str, torch.Tensor]:
    return torch.load(output / LAST, weights_only=True)["state_dict"]


def test_a_killed_run_ends_as_one_that_was_left_alone(
    data: ChestXray14, official_files: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = tiny_recipe.model_copy(update={"epochs": 12})
    killed, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    call = command(recipe, official_files, killed)
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (killed / LAST).is_file():
        assert process.poll() is None, "ended before its first checkpoint"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = torch.load(killed / LAST, weights_only=True)["epoch"] + 1
    assert 0 < finished < recipe.epochs

    train(recipe, data, killed, tmp_path / "cache", resume=True, progress=False)
    train(recipe, data, unbroken, tmp_path / "cache", progress=False)
    expected = weights(unbroken)
    for name, tensor in weights(killed).items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0, msg=name)


def losses(output: Path) -> list[tuple[str, float]]:
    """What each epoch logged, in order."""
    [log] = output.glob("csv/*/metrics.csv")
    with log.open() as lines:
        return [
            (name, float(value))
            for row in csv.DictReader(lines)
            for name, value in row.items()
            if name.endswith("_epoch") and value
        ]


@pytest.mark.parametrize("where", ["features", "image"])
def test_two_processes_learn_what_one_learns(
    where: str, data: ChestXray14, official_files: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    """Each step holds the whole training part, so that both see the same radiographs in it.

    Batch statistics are those of a process, so the layers that use them are frozen.
    """
    whole = len(data.part("training")) // 2 * 2
    network = tiny_recipe.network.model_copy(
        update={"frozen": ("",), "stages": (4,), "stride": 32, "context": 3}
    )
    original = LocalizationNetwork(network)
    save_network(tiny_recipe.model_copy(update={"network": network}), original, tmp_path / "start")
    values = {
        "network": network,
        "augmentation": STILL,
        "tiles": 0.0,
        "epochs": 4,
        "batch": whole,
        "start": str(tmp_path / "start"),
        "mining": MiningRecipe(where=where),
        "preservation": PreservationRecipe(),
    }
    one = tiny_recipe.model_copy(update=values)
    train(one, data, tmp_path / "one", tmp_path / "cache", progress=False)
    half = one.model_copy(update={"batch": whole // 2})
    call = command(half, official_files, tmp_path / "two", "--devices", "2")
    subprocess.run(call, check=True, capture_output=True)

    expected = losses(tmp_path / "one")
    assert {name for name, _ in expected} == {
        f"loss/{part}_epoch" for part in ("whole", "mining", "preservation")
    }
    for (name, value), (other, wanted) in zip(losses(tmp_path / "two"), expected, strict=True):
        assert name == other
        assert value == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    learned = weights(tmp_path / "one")
    for name, tensor in weights(tmp_path / "two").items():
        torch.testing.assert_close(tensor, learned[name], rtol=1e-4, atol=1e-5, msg=name)
    assert not torch.equal(learned["network.head.bias"], original.head.bias)
