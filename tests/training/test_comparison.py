import numpy as np
import pytest
import torch

from training.areas import mean_area
from training.comparison import NAMES, compare, compare_areas, figures
from training.protocol import Shown, Target

TRUE = (100.0, 100.0, 100.0, 100.0)


MISSED = Shown([(800, 800, 9, 9)], (804, 804), [(800, 800, 9, 9)], [0.9])


def targets(count: int) -> list[Target]:
    return [Target(str(p), 10 * p, "Mass" if p % 2 else "Nodule", [TRUE]) for p in range(count)]


def show(good: bool) -> Shown:
    return Shown([TRUE], (150, 150), [TRUE], [0.9]) if good else MISSED


def test_a_method_is_no_better_than_itself() -> None:
    shown = [show(patient % 3 == 0) for patient in range(60)]
    for difference in compare(targets(60), shown, shown).values():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_a_clear_gain_excludes_nought_and_a_single_box_does_not() -> None:
    none = [show(False)] * 60
    clear = compare(targets(60), [show(p % 2 == 0) for p in range(60)], none)["pointing game"]
    assert clear.value == pytest.approx(0.5)
    assert 0.3 < clear.low < 0.5 < clear.high < 0.7
    single = compare(targets(60), [show(p == 0) for p in range(60)], none)["pointing game"]
    assert single.low == 0


def test_patients_are_drawn_not_boxes() -> None:
    """Sixty boxes of two patients say no more than two patients do."""
    two = [Target(str(box), box % 2, "Mass", [TRUE]) for box in range(60)]
    shown = [show(box % 2 == 0) for box in range(60)]
    gain = compare(two, shown, [show(False)] * 60)["pointing game"]
    assert (gain.low, gain.high) == (0, 1)


def test_figures_are_those_of_the_protocol() -> None:
    found = figures(targets(4), [show(True), show(True), show(True), show(False)])
    assert list(found) == list(NAMES)
    assert found["pointing game"] == 0.75
    # Nodules are found; of the masses the one found has the same score as the false box.
    assert found["Acc at T(IoU) 0.5, AFP 1.0"] == pytest.approx(np.mean([1.0, 0.5]))


def test_the_gain_in_auc_is_that_of_the_means() -> None:
    random = np.random.default_rng(0)
    labels = random.random((300, 3)) < 0.3
    better, worse = (
        # Rounded, so that some are tied.
        (labels + random.normal(0, noise, labels.shape)).round(1).astype(np.float32)
        for noise in (0.5, 2.0)
    )
    gain = compare_areas(np.arange(300) // 2, labels, better, worse)
    areas = [mean_area(torch.tensor(scores), torch.tensor(labels)) for scores in (better, worse)]
    assert gain.value == pytest.approx(areas[0] - areas[1], abs=1e-5)
    assert 0 < gain.low < gain.value < gain.high
    same = compare_areas(np.arange(300), labels, worse, worse)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_gain_in_auc_is_as_sure_as_its_patients_are_many() -> None:
    """Ten radiographs of each patient say no more than one does."""
    random = np.random.default_rng(0)
    labels = random.random((40, 1)) < 0.4
    scores = [(labels + random.normal(0, n, labels.shape)).astype(np.float32) for n in (0.5, 1.0)]
    labels, better, worse = (np.repeat(each, 10, axis=0) for each in (labels, *scores))
    of_forty, of_all = (
        compare_areas(patients, labels, better, worse)
        for patients in (np.arange(400) // 10, np.arange(400))
    )
    assert of_forty.high - of_forty.low > 2 * (of_all.high - of_all.low)
