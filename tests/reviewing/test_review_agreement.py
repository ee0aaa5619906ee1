"""Agreement, against values computed by hand."""

from collections.abc import Callable

import pytest
from review_helpers import EFFUSION, MASS, MINED, NODULE, SECOND_MASS

from reviewing.agreement import cohens_kappa, iou, measure_agreement
from reviewing.decisions import Edges
from reviewing.log import Log

Judge = Callable[..., int]


def test_kappa_of_cohens_kind() -> None:
    # 50 cases: both yes 20, only one 5, only the other 10, both no 15.
    # po = 35/50 = 0.7; pe = (25/50)(30/50) + (25/50)(20/50) = 0.5; (0.7 - 0.5) / (1 - 0.5).
    assert cohens_kappa(20, 5, 10, 15) == pytest.approx(0.4)


def test_kappa_of_perfect_chance_and_opposite_raters() -> None:
    assert cohens_kappa(3, 0, 0, 4) == 1
    assert cohens_kappa(1, 1, 1, 1) == 0
    assert cohens_kappa(0, 5, 5, 0) == -1


def test_kappa_is_unknown_where_both_know_one_answer() -> None:
    assert cohens_kappa(7, 0, 0, 0) is None
    assert cohens_kappa(0, 0, 0, 7) is None


def test_iou_of_boxes() -> None:
    assert iou(Edges(0, 0, 10, 10), Edges(5, 0, 10, 10)) == pytest.approx(50 / 150)
    assert iou(Edges(0, 0, 10, 10), Edges(0, 0, 10, 10)) == 1
    assert iou(Edges(0, 0, 10, 10), Edges(10, 0, 10, 10)) == 0
    assert iou(Edges(0, 0, 1, 1), Edges(5, 5, 1, 1)) == 0


def test_a_pair_on_four_boxes(log: Log, judge: Judge) -> None:
    judge("ann", MASS, "accept")
    judge("ann", SECOND_MASS, "accept")
    judge("ann", EFFUSION, "reject")
    judge("ann", NODULE, "reject")
    judge("ben", MASS, "move", Edges(20, 10, 20, 20))  # by half of its width
    judge("ben", SECOND_MASS, "relabel", MINED[SECOND_MASS], "Nodule")
    judge("ben", EFFUSION, "accept")
    judge("ben", NODULE, "reject")
    [pair] = measure_agreement(log)
    assert pair.reviewers == ("ann", "ben")
    assert pair.boxes == 4
    assert pair.agreement == 0.75
    # po = 3/4; pe = (2/4)(3/4) + (2/4)(1/4) = 1/2.
    assert pair.kappa == pytest.approx(0.5)
    assert pair.same_disease == 0.5
    assert pair.moved == 1
    assert pair.iou == pytest.approx(200 / 600)


def test_the_last_decision_counts_and_what_was_undone_does_not(log: Log, judge: Judge) -> None:
    judge("ann", MASS, "reject")
    judge("ann", MASS, "accept")
    judge("ben", MASS, "accept")
    judge("ann", NODULE, "accept")
    judge("ben", NODULE, "reject")
    judge("ben", NODULE, "undo")
    [pair] = measure_agreement(log)
    assert (pair.boxes, pair.agreement, pair.kappa, pair.iou) == (1, 1, None, None)


def test_three_reviewers_are_three_pairs(log: Log, judge: Judge) -> None:
    for name in ("cat", "ann", "ben"):
        judge(name, MASS, "accept")
    pairs = [pair.reviewers for pair in measure_agreement(log)]
    assert pairs == [("ann", "ben"), ("ann", "cat"), ("ben", "cat")]


def test_one_reviewer_alone_agrees_with_nobody(log: Log, judge: Judge) -> None:
    judge("ann", MASS, "accept")
    assert measure_agreement(log) == []
