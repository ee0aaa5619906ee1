import numpy as np
import pytest
from scipy.special import expit

from training.calibration import calibrate, expected_calibration_error


@pytest.fixture
def overconfident() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits three times too large, of a disease that is common and of one without positives."""
    random = np.random.default_rng(0)
    truth = random.normal(-1, 1.5, (4000, 2))
    labels = random.random((4000, 2)) < expit(truth)
    labels[:, 1] = False
    return 3 * truth, labels, np.array([labels[:, 0].mean(), 0.01])


def test_calibrated_probabilities_are_rates(
    overconfident: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    logits, labels, rates = overconfident
    calibration = calibrate(logits, labels, rates)
    assert calibration.scale[0] == pytest.approx(1 / 3, abs=0.03)
    common = calibration.probabilities(logits)[:, :1]
    assert expected_calibration_error(common, labels[:, :1]) < 0.02
    assert expected_calibration_error(expit(logits[:, :1]), labels[:, :1]) > 0.05


def test_the_operating_point_balances_sensitivity_and_specificity(
    overconfident: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    logits, labels, rates = overconfident
    calibration = calibrate(logits, labels, rates)
    called = calibration.probabilities(logits)[:, 0] >= calibration.threshold[0]
    chosen = called[labels[:, 0]].mean() - called[~labels[:, 0]].mean()
    for other in (0.1, 0.3, 0.5, 0.7):
        called = calibration.probabilities(logits)[:, 0] >= other
        assert chosen >= called[labels[:, 0]].mean() - called[~labels[:, 0]].mean()


def test_a_disease_without_positives_keeps_its_rate_and_calls_one_in_twenty(
    overconfident: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    logits, labels, rates = overconfident
    calibration = calibrate(logits, labels, rates)
    probabilities = calibration.probabilities(logits)[:, 1]
    assert calibration.scale[1] == calibration.scale[0]
    assert probabilities.mean() == pytest.approx(0.01, rel=0.05)
    assert (probabilities >= calibration.threshold[1]).mean() == pytest.approx(0.05, abs=0.01)
