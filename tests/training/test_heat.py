"""How evidence becomes heat."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from localization import DISEASES
from training.heat import PLAIN, HeatMaps, HeatSetting, fit_heat
from training.heat_setting import choose_heat_setting
from training.protocol import WHOLE, Target

COUNT, CELLS = len(DISEASES), 8
MASS = DISEASES.index("Mass")


@pytest.fixture
def maps() -> NDArray[np.float32]:
    """Evidence of 40 radiographs: noise."""
    random = np.random.default_rng(0)
    return random.normal(size=(40, COUNT, CELLS, CELLS)).astype(np.float32)


@pytest.fixture
def labels() -> NDArray[np.bool_]:
    labels = np.zeros((40, COUNT), bool)
    labels[:20, MASS] = True
    return labels


def heat_of(
    maps: NDArray[np.float32], labels: NDArray[np.bool_], setting: HeatSetting
) -> NDArray[np.float32]:
    heat = HeatMaps(fit_heat(maps, labels, setting))
    evidence = torch.tensor(maps)
    return np.asarray(heat(evidence, heat.surroundings(evidence)))


def test_a_plain_map_is_linear_in_the_evidence_and_the_same_for_all_radiographs(
    maps: NDArray[np.float32], labels: NDArray[np.bool_]
) -> None:
    plain = heat_of(maps, labels, PLAIN)
    for disease in range(COUNT):
        own = maps[:, disease]
        share = (own - own.min()) / (own.max() - own.min())
        np.testing.assert_allclose(plain[:, disease], share, atol=1e-5)


def test_evidence_beyond_what_was_ever_seen_is_0_or_1(
    maps: NDArray[np.float32], labels: NDArray[np.bool_]
) -> None:
    setting = HeatSetting(shared=1.0, location=1.0, usual=1.0, contrast=3.0)
    heat = HeatMaps(fit_heat(maps, labels, setting))
    known = heat_of(maps, labels, setting)
    assert (known.min(), known.max()) == (pytest.approx(0, abs=1e-5), pytest.approx(1))
    for far, value in ((-100.0, 0.0), (100.0, 1.0)):
        beyond = torch.full((1, COUNT, CELLS, CELLS), far)
        assert bool((heat(beyond, heat.surroundings(beyond)) == value).all())


def test_what_all_diseases_see_is_shared(
    maps: NDArray[np.float32], labels: NDArray[np.bool_]
) -> None:
    maps[0, :, 2, 3] += 5
    maps[0, MASS, 2, 3] = 0  # The mass alone does not see it.
    assert heat_of(maps, labels, PLAIN)[0, MASS].argmax() != 2 * CELLS + 3
    assert heat_of(maps, labels, HeatSetting(shared=9.0))[0, MASS].argmax() == 2 * CELLS + 3


def test_a_place_is_hot_where_the_disease_tends_to_be(
    maps: NDArray[np.float32], labels: NDArray[np.bool_]
) -> None:
    maps[:20, MASS, 5, 5] += 3
    heat = heat_of(maps, labels, HeatSetting(location=9.0))
    # In the other twenty too.
    assert (heat[:, MASS].reshape(40, -1).argmax(axis=1) == 5 * CELLS + 5).all()


def test_what_is_usual_at_a_place_is_taken_off(
    maps: NDArray[np.float32], labels: NDArray[np.bool_]
) -> None:
    maps[:, MASS, 7] += 5  # The lower border is hot in everyone.
    plain, corrected = (
        heat_of(maps, labels, HeatSetting(usual=share))[:, MASS] for share in (0.0, 1.0)
    )
    assert plain[:, 7].mean() > plain[:, :7].mean() + 0.3
    assert corrected[:, 7].mean() == pytest.approx(corrected[:, :7].mean(), abs=1e-5)


def test_contrast_is_a_power(maps: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
    contrast = heat_of(maps, labels, HeatSetting(contrast=2.0))
    np.testing.assert_allclose(contrast, heat_of(maps, labels, PLAIN) ** 2, atol=1e-5)


def test_a_disease_without_any_difference_is_refused(
    maps: NDArray[np.float32], labels: NDArray[np.bool_]
) -> None:
    maps[:, MASS] = 1
    with pytest.raises(ValueError, match="Mass"):
        fit_heat(maps, labels, PLAIN)


def test_the_setting_that_finds_the_boxes_is_chosen(
    maps: NDArray[np.float32], labels: NDArray[np.bool_]
) -> None:
    maps[:20, MASS, 1:3, 1:3] += 2
    targets = [Target(str(i), 2 * i, "Mass", [(128.0, 128.0, 256.0, 256.0)]) for i in range(20)]
    evidence = {str(i): maps[20 + i] for i in range(20)}  # They show nothing of it themselves.
    fields = dict.fromkeys(evidence, WHOLE)
    chosen = choose_heat_setting(targets, evidence, fields, maps, labels)
    assert chosen.location > 0
    assert choose_heat_setting([], {}, {}, maps, labels) == PLAIN
