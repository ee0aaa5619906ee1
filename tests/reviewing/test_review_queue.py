"""Who is shown which box next."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from review_helpers import BY_UNCERTAINTY, EFFUSION, MASS, NODULE, SECOND_MASS, SHARDS

from harvesting.dataset import Dataset
from harvesting.rows import FindingRow
from harvesting.run import RUN
from reviewing.decisions import BoxId, ReviewRefused
from reviewing.index import build_index, disputed, uncertainty
from reviewing.log import Log
from reviewing.queue import HOLDING_SECONDS, NoSuchBox, Progress, Queue, Waiting

Judge = Callable[..., int]


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(log: Log, clock: Clock) -> Queue:
    return Queue(log, clock)


def names(boxes: Sequence[Waiting]) -> list[BoxId]:
    return [box.of for box in boxes]


def finding(probability: float, threshold: float, labelled: bool | None = None) -> FindingRow:
    return FindingRow("a.png", "Mass", probability, threshold, labelled, (), b"")


@pytest.mark.parametrize(
    ("probability", "threshold", "expected"),
    [
        (0.25, 0.25, 1),
        # Odds of 1 over 1/3: as 3 to 1, so 0.75, a half from the middle's two sides.
        (0.5, 0.25, 0.5),
        # Odds of 1/9 over 2/3, as 1 to 6.
        (0.1, 0.4, 2 / 7),
        (1, 0.25, 0),
        (0, 0.25, 0),
        (0, 0, 1),
    ],
)
def test_uncertain_is_what_is_near_its_operating_point(
    probability: float, threshold: float, expected: float
) -> None:
    assert uncertainty(finding(probability, threshold)) == pytest.approx(expected)


def test_disputed_is_what_label_and_model_disagree_on() -> None:
    assert disputed(finding(0.1, 0.4, labelled=True))
    assert disputed(finding(0.5, 0.4, labelled=False))
    assert not disputed(finding(0.5, 0.4, labelled=True))
    assert not disputed(finding(0.5, 0.4, labelled=None))


def test_the_most_uncertain_come_first(queue: Queue) -> None:
    assert names(queue.next("ann", count=9)) == BY_UNCERTAINTY


def test_the_disputed_come_first_where_that_is_asked(queue: Queue) -> None:
    assert names(queue.next("ann", "disputed", count=9)) == [EFFUSION, NODULE, MASS, SECOND_MASS]


def test_one_disease_alone(queue: Queue, judge: Judge) -> None:
    judge("ann", MASS, "accept")
    assert names(queue.next("ann", disease="Mass", count=9)) == [SECOND_MASS]
    assert queue.progress("ann", disease="Mass") == Progress(2, 1, 1)
    assert queue.next("ann", disease="Hernia") == []


def test_what_one_has_judged_does_not_come_again_until_it_is_undone(
    queue: Queue, judge: Judge
) -> None:
    judge("ann", NODULE, "reject")
    assert names(queue.next("ann", count=1)) == [MASS]
    judge("ann", NODULE, "undo")
    assert names(queue.next("ann", count=1)) == [NODULE]


def test_the_place_is_kept_when_asked_again(queue: Queue) -> None:
    assert queue.next("ann") == queue.next("ann")


def test_reviewers_are_shown_different_radiographs_where_there_are(queue: Queue) -> None:
    assert names(queue.next("ann", count=1)) == [NODULE]
    assert names(queue.next("ben", count=1)) == [MASS]
    # Both radiographs are held: the third reviewer judges one of them, too.
    assert names(queue.next("cat", count=1)) == [NODULE]


def test_who_is_gone_holds_nothing(queue: Queue, clock: Clock) -> None:
    queue.next("ann", count=1)
    clock.seconds = HOLDING_SECONDS
    assert names(queue.next("ben", count=1)) == [NODULE]


def test_what_others_have_judged_comes_last_and_alone_in_a_second_reading(
    queue: Queue, judge: Judge
) -> None:
    judge("ann", NODULE, "accept")
    assert names(queue.next("ben", count=9)) == [MASS, SECOND_MASS, EFFUSION, NODULE]
    assert names(queue.next("ben", "second", count=9)) == [NODULE]
    assert queue.next("ann", "second") == []
    assert queue.progress("ben", "second") == Progress(1, 0, 1)
    judge("ben", NODULE, "reject")
    assert queue.next("ben", "second") == []
    assert queue.progress("ben", "second") == Progress(1, 1, 1)


def test_skipped_boxes_come_after_all_others_in_the_order_of_skipping(queue: Queue) -> None:
    for _ in range(4):
        [first, *_] = queue.next("ann")
        queue.skip("ann", first.id)
    assert names(queue.next("ann", count=9)) == BY_UNCERTAINTY
    [first, *_] = queue.next("ann")
    queue.skip("ann", first.id)
    assert names(queue.next("ann", count=9)) == [*BY_UNCERTAINTY[1:], BY_UNCERTAINTY[0]]
    assert names(queue.next("ben", count=1)) == [NODULE]  # held alone by ann, and skipped by her


def test_progress_counts_boxes_once(queue: Queue, judge: Judge) -> None:
    for reviewer, of in [("ann", MASS), ("ann", MASS), ("ben", MASS), ("ben", NODULE)]:
        judge(reviewer, of, "accept")
    judge("ben", EFFUSION, "accept")
    judge("ben", EFFUSION, "undo")
    assert queue.progress("ann") == Progress(boxes=4, judged=1, judged_by_anyone=2)
    assert queue.progress("ben") == Progress(boxes=4, judged=2, judged_by_anyone=2)


def test_boxes_are_found_by_number_and_name(queue: Queue) -> None:
    box = queue.find(EFFUSION)
    assert queue.get(box.id) == box
    assert (box.shard, box.disputed) == (0, True)
    with pytest.raises(NoSuchBox):
        queue.get(5)
    with pytest.raises(NoSuchBox):
        queue.find(BoxId("a.png", "Mass", 2))


def test_the_index_is_kept(log: Log, dataset: Dataset, folder: Path) -> None:
    (folder / "findings/shard=00000/part.parquet").unlink()
    build_index(log, dataset)  # reads no rows again
    assert len(Queue(log).next("ann", count=9)) == 4


def test_another_harvest_into_the_folder_is_refused(
    log: Log, write_dataset: Callable[..., Path]
) -> None:
    folder = write_dataset(SHARDS)
    run = (folder / RUN).read_text().replace('"version": "1.0.0"', '"version": "2.0.0"')
    (folder / RUN).write_text(run)
    with pytest.raises(ReviewRefused, match="another harvest"):
        build_index(log, Dataset.open(str(folder)))
