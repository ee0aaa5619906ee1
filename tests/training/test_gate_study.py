"""What the gate makes of the test part each way, and whether it is counted rightly."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typer.testing import CliRunner

from commands.main import app
from localization import Compute, Localizer, ModelBundle
from localization.localizer import Outputs
from training.dataset import ChestXray14
from training.gate_study import WAYS, measure_gate


class Knowing(Localizer):
    """Knows that the data set's bright squares lie above and to the right, on dark noise.

    A picture whose square lies elsewhere is turned, and a bright one is blank.
    """

    def infer(self, inputs: NDArray[np.uint8], *, alone: bool = True) -> Outputs:
        half = inputs.shape[-1] // 2
        halves = inputs.reshape(len(inputs), 2, half, 2, half)
        quarters = halves.mean(axis=(2, 4)).reshape(len(inputs), 4)
        upright = quarters.argmax(axis=1, keepdims=True) == 1
        bright = quarters.mean(axis=1, keepdims=True) > 128
        return (
            super()
            .infer(inputs, alone=alone)
            ._replace(
                presentation=np.where(upright, (1, 0, 0, 0), (0, 1, 0, 0)).astype(np.float32),
                tones=np.where(bright, (0, 0), (60, 0)).astype(np.float32),
            )
        )


def test_each_way_is_counted_of_each_test_radiograph(tiny_bundle: Path, data: ChestXray14) -> None:
    localizer = Knowing(ModelBundle.load(tiny_bundle), Compute("cpu", threads=1))
    count = len(data.part("test"))
    assert measure_gate(localizer, data) == {
        "as they are": {"passed": count},
        "turned to the left": {"flagged": count},
        "turned to the right": {"flagged": count},
        "upside down": {"flagged": count},
        "inverted": {"refused": count},
    }


def test_the_command_prints_a_row_for_each_way(tiny_bundle: Path, official_files: Path) -> None:
    options = ["--data", str(official_files), "--provider", "cpu"]
    result = CliRunner().invoke(app, ["gate", str(tiny_bundle), *options])
    assert result.exit_code == 0, result.output
    assert "refused %" in result.stdout
    assert all(way in result.stdout for way in WAYS)
