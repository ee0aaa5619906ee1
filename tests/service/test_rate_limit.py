"""The token buckets."""

import pytest

from service.rate_limit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_passes_and_the_next_waits_for_a_token(clock: Clock) -> None:
    limit = RateLimit(per_minute=30, burst=3, clock=clock)
    assert [limit.seconds_to_wait("a") for _ in range(4)] == [0, 0, 0, 2]
    clock.now += 1.5
    assert limit.seconds_to_wait("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert [limit.seconds_to_wait("a") for _ in range(2)] == [0, 2]


def test_who_waits_as_told_sends_the_rate_and_no_more(clock: Clock) -> None:
    limit = RateLimit(per_minute=60, burst=5, clock=clock)
    passed = 0
    while clock.now < 1060:
        wait = limit.seconds_to_wait("a")
        passed += wait == 0
        clock.now += wait
    assert passed == 5 + 59


def test_refusals_cost_no_tokens(clock: Clock) -> None:
    limit = RateLimit(per_minute=60, burst=1, clock=clock)
    limit.seconds_to_wait("a")
    assert {limit.seconds_to_wait("a") for _ in range(100)} == {1}


def test_a_bucket_holds_no_more_than_the_burst(clock: Clock) -> None:
    limit = RateLimit(per_minute=60, burst=2, clock=clock)
    clock.now += 3600
    assert [limit.seconds_to_wait("a") for _ in range(3)] == [0, 0, 1]


def test_callers_do_not_share(clock: Clock) -> None:
    limit = RateLimit(per_minute=1, burst=1, clock=clock)
    assert [limit.seconds_to_wait(caller) for caller in "aab"] == [0, 60, 0]


def test_callers_are_forgotten_rather_than_kept_without_end(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.rate_limit.MOST_CALLERS", 3)
    limit = RateLimit(per_minute=1, burst=1, clock=clock)
    for caller in ("a", "b", "c", "d"):
        limit.seconds_to_wait(caller)
    assert len(limit._full_at) == 3
    assert [limit.seconds_to_wait(caller) for caller in "bcd"] == [60, 60, 60]
