import numpy as np
import pytest

from training.free_response import AFP, accuracies
from training.protocol import Shown, Target, detections

TRUE = (100.0, 100.0, 100.0, 100.0)
FALSE = (700.0, 700.0, 100.0, 100.0)


def targets(count: int) -> list[Target]:
    return [Target(str(patient), patient, "Mass", [TRUE]) for patient in range(count)]


def test_accuracy_rises_with_the_false_boxes_that_are_allowed() -> None:
    """Eight radiographs, a true box and a false one in each, all of them of falling scores."""
    shown = [
        Shown([TRUE, FALSE], (0, 0), [TRUE, FALSE], [0.95 - 0.1 * rank, 0.90 - 0.1 * rank])
        for rank in range(8)
    ]
    found = accuracies(detections(targets(8), shown, 0.3))
    # One, two, four and eight false boxes in eight radiographs; the cut is at the next false one.
    assert found == pytest.approx([2 / 8, 3 / 8, 5 / 8, 8 / 8])
    assert AFP == (0.125, 0.25, 0.5, 1.0)


def test_one_box_too_many_is_not_allowed() -> None:
    shown = [Shown([FALSE, TRUE], (0, 0), [FALSE, TRUE], [0.9, 0.8]), Shown([], (0, 0), [], [])]
    assert accuracies(detections(targets(2), shown, 0.3)) == pytest.approx([0, 0, 0.5, 0.5])


def test_a_patient_drawn_twice_counts_twice() -> None:
    shown = [Shown([TRUE], (0, 0), [TRUE], [0.9]), Shown([], (0, 0), [], [])]
    found = detections(targets(2), shown, 0.3)
    assert accuracies(found, np.array([2.0, 1.0])) == pytest.approx([2 / 3] * 4)
    assert accuracies(found, np.array([0.0, 1.0])) == pytest.approx([0] * 4)
