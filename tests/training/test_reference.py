"""The reference that drift is measured against."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from localization import DISEASES, Compute, Localizer, ModelBundle
from localization.reference import BOUNDS, Bins
from training.dataset import ChestXray14
from training.evaluation import predict
from training.reference import LEAST, fill_bins, record_reference


@pytest.mark.parametrize("typical", [0.0005, 0.04, 0.3])
def test_bins_are_well_filled_wherever_the_probabilities_lie(typical: float) -> None:
    logits = np.random.default_rng(0).normal(np.log(typical), 0.5, 2000)
    probabilities = np.clip(np.exp(logits), 0, 1).astype(np.float32)
    bins = fill_bins(probabilities)
    assert 6 <= len(bins.bounds) <= 12
    assert min(bins.shares) >= LEAST
    assert sum(bins.shares) == pytest.approx(1, abs=1e-5)
    below = [np.mean(probabilities <= bound) for bound in bins.bounds]
    assert np.cumsum(bins.shares) == pytest.approx(below, abs=1e-5)


def test_one_value_fills_one_bin_and_a_bound_belongs_to_the_bin_below_it() -> None:
    bins = fill_bins(np.array([BOUNDS[20], BOUNDS[30]]))
    assert bins.bounds == (BOUNDS[20], 1.0)
    assert bins.shares == (0.5, 0.5)
    assert fill_bins(np.full(5, 0.25)).bounds == (1.0,)


def test_the_index_is_0_without_drift_and_grows_with_it() -> None:
    random = np.random.default_rng(0)
    calibrated = np.exp(random.normal(np.log(0.04), 0.5, 20_000))
    bins = fill_bins(calibrated)
    assert bins.stability_index(calibrated) == pytest.approx(0, abs=1e-5)
    shifted = [bins.stability_index(calibrated * factor) for factor in (1.1, 1.5, 3)]
    assert 0 < shifted[0] < 0.1 < 0.25 < shifted[1] < shifted[2]


def test_the_index_is_the_formula_and_an_empty_bin_has_a_floor() -> None:
    bins = Bins(bounds=(0.1, 1.0), shares=(0.5, 0.5))
    # On a bound is in the bin below it, as a histogram of Prometheus counts.
    assert bins.stability_index(np.array([0.1, 0.1, 0.1, 0.2])) == pytest.approx(
        0.25 * np.log(0.75 / 0.5) - 0.25 * np.log(0.25 / 0.5)
    )
    assert bins.stability_index(np.array([0.05])) == pytest.approx(
        0.5 * np.log(2) + (1e-4 - 0.5) * np.log(1e-4 / 0.5)
    )


def test_a_recorded_reference_is_of_the_validation_part_and_all_else_stays(
    tiny_bundle: Path, data: ChestXray14, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    before = ModelBundle.load(folder)
    after = record_reference(before, data)
    validation = data.part("validation")
    reference = after.manifest.reference
    assert reference is not None
    assert reference.radiographs == len(validation) < len(data.table)
    assert after.manifest.model_copy(update={"reference": None}) == before.manifest
    probabilities = predict(Localizer(after, Compute("cpu")), validation, set()).probabilities
    for index, disease in enumerate(DISEASES):
        assert reference.diseases[disease] == fill_bins(probabilities[:, index])


def test_an_exported_bundle_has_one(bundle: ModelBundle) -> None:
    assert bundle.manifest.reference is not None
    assert "fp32" in bundle.manifest.reference.data
