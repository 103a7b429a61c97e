"""The call budget of the fleet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sync.fleet.rate_limits import (
    Call,
    CallBudget,
    Quota,
    TokenBucket,
)

QUOTA = Quota(2, 0.5)


def test_a_share_has_its_part_of_capacity_and_refill() -> None:
    assert Quota(4, 1).part(0.5) == QUOTA


def test_a_full_bucket_allows_its_capacity_at_once_and_then_its_refill() -> None:
    bucket, at = TokenBucket.full(QUOTA, 100.0), list[float]()
    for _ in range(4):
        bucket, ready = bucket.take(100.0)
        at.append(ready)
    assert at == [100.0, 100.0, 102.0, 104.0]


def test_a_bucket_never_exceeds_its_capacity() -> None:
    bucket = TokenBucket.full(QUOTA, 0.0)
    assert bucket.take(1_000.0)[0].tokens == 1.0


def test_a_clock_that_goes_back_adds_no_tokens() -> None:
    bucket, _ = TokenBucket.full(QUOTA, 100.0).take(100.0)
    assert bucket.take(50.0)[0] == bucket.take(100.0)[0]


def test_a_throttling_halves_the_rate_and_removes_saved_tokens() -> None:
    bucket = TokenBucket.full(QUOTA, 0.0).after_call(0.0, throttled=True)
    assert (bucket.rate, bucket.tokens) == (0.25, 0.0)
    assert bucket.take(0.0)[1] == 4.0


def test_a_throttling_keeps_the_debt_of_granted_calls() -> None:
    bucket = TokenBucket(QUOTA, -3.0, 0.5, 0.0)
    assert bucket.after_call(0.0, throttled=True).tokens == -3.0


def test_the_rate_never_falls_to_zero() -> None:
    bucket = TokenBucket.full(QUOTA, 0.0)
    for _ in range(100):
        bucket = bucket.after_call(0.0, throttled=True)
    assert bucket.rate == QUOTA.refill / 32


def test_successes_restore_the_rate_up_to_the_quota() -> None:
    bucket = TokenBucket.full(QUOTA, 0.0).after_call(0.0, throttled=True)
    assert bucket.after_call(0.0, throttled=False).rate == 0.25 + 0.5 / 16
    for _ in range(100):
        bucket = bucket.after_call(0.0, throttled=False)
    assert bucket.rate == QUOTA.refill


deeds = st.lists(
    st.tuples(st.floats(0, 5), st.sampled_from(["take", "take", "throttled", "succeeded"])),
    max_size=60,
)


@given(deeds)
def test_calls_never_exceed_the_quota_in_any_period(
    outcomes: list[tuple[float, str]],
) -> None:
    bucket, now, went = TokenBucket.full(QUOTA, 0.0), 0.0, list[float]()
    for pause, outcome in outcomes:
        now += pause
        if outcome == "take":
            bucket, at = bucket.take(now)
            # A worker waits until its call may be made.
            now = max(now, at)
            went.append(now)
        else:
            bucket = bucket.after_call(now, throttled=outcome == "throttled")
    for first, start in enumerate(went):
        for count, end in enumerate(went[first:], start=1):
            assert count <= QUOTA.capacity + QUOTA.refill * (end - start) + 1e-6


def test_a_call_waits_for_its_own_bucket_and_the_accounts() -> None:
    budget = CallBudget.of(0.0, share=0.1)
    went = list[float]()
    for call in (*[Call.REGISTRATION] * 3, *[Call.DESCRIBE] * 2):
        budget, at = budget.take(call, 0.0)
        went.append(at)
    # Two registrations at once and the next at 0.4/s; the account allows four, then 1/s.
    assert went == [0.0, 0.0, pytest.approx(2.5), 0.0, pytest.approx(1.0)]


def test_a_throttling_slows_its_own_bucket_and_the_accounts() -> None:
    budget = CallBudget.of(0.0, share=0.5)
    slow = budget.after_call(Call.DESCRIBE, 0.0, throttled=True)
    assert slow.buckets[Call.DESCRIBE].rate == slow.account.rate == 2.5
    assert slow.buckets[Call.REGISTRATION] == budget.buckets[Call.REGISTRATION]
    faster = slow.after_call(Call.DESCRIBE, 0.0, throttled=False)
    assert faster.buckets[Call.DESCRIBE].rate == faster.account.rate == 2.5 + 5 / 16
