"""Calls that wait for the tokens of the call budget."""

from collections.abc import Iterable, Sequence

import pytest

from target_sync.fleet.rate_limiter import (
    LEAD_SECONDS,
    CallRateLimiter,
    RateLimitedTargetGroup,
)
from target_sync.fleet.rate_limits import Call, CallBudget, Quota, TokenBucket
from target_sync.model import Target, TargetGroup
from tests.support.clock import FakeClock
from tests.unit.fleet.builders import A

TARGETS = [Target(A, 5432)]
#: A bucket that never delays a call.
PLENTY = Quota(1_000, 1_000)


class Calls:
    """A target group that records the calls, and may be throttled."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.throttled = 0
        self.throttle_next = False
        self.fail_next: Exception | None = None

    def describe(self) -> TargetGroup:
        self._called("describe")
        return TargetGroup(())

    def register(self, targets: Sequence[Target]) -> None:
        assert targets == TARGETS
        self._called("register")

    def deregister(self, targets: Sequence[Target]) -> None:
        assert targets == TARGETS
        self._called("deregister")

    def _called(self, what: str) -> None:
        self.made.append(what)
        self.throttled += self.throttle_next
        self.throttle_next = False
        error, self.fail_next = self.fail_next, None
        if error:
            raise error


class Limited:
    """The rate limiter with these buckets, over calls that always succeed by default."""

    def __init__(
        self,
        *,
        describe: Quota = PLENTY,
        registration: Quota = PLENTY,
        account: Quota = PLENTY,
    ) -> None:
        self.clock = FakeClock()
        self.calls = Calls()
        now = self.clock.now()
        quotas = {
            Call.DESCRIBE: describe,
            Call.REGISTRATION: registration,
        }
        budget = CallBudget(
            {call: TokenBucket.full(quota, now) for call, quota in quotas.items()},
            TokenBucket.full(account, now),
        )
        self.rate_limiter = CallRateLimiter(self.clock, budget, lambda: self.calls.throttled)
        self.began = now

    def group(self) -> RateLimitedTargetGroup:
        return RateLimitedTargetGroup(self.calls, self.rate_limiter, self.clock)

    def snapshot(self, group: RateLimitedTargetGroup) -> float:
        """Describe once the budget allows it; return the seconds since the start."""
        self.wait(group.before_snapshot())
        group.describe()
        return self.elapsed

    def register(self, group: RateLimitedTargetGroup) -> float:
        self.wait(group.before_change())
        group.register(TARGETS)
        return self.elapsed

    def deregister(self, group: RateLimitedTargetGroup) -> float:
        self.wait(group.before_change())
        group.deregister(TARGETS)
        return self.elapsed

    def wait(self, waits: Iterable[float]) -> None:
        for at in waits:
            assert at > self.clock.now()
            self.clock.sleep_until(at)

    @property
    def elapsed(self) -> float:
        return round(self.clock.now() - self.began, 3)


def test_a_description_waits_for_its_token() -> None:
    limited = Limited(describe=Quota(1, 0.5))
    group = limited.group()
    assert [limited.snapshot(group) for _ in range(3)] == [0.0, 2.0, 4.0]
    assert limited.calls.made == ["describe"] * 3


def test_a_snapshot_leaves_a_token_of_the_account_for_its_change() -> None:
    limited = Limited(account=Quota(2, 0.25))
    group = limited.group()
    # A token every 4 s: the change could not follow a snapshot at 0 s within the lead.
    assert limited.snapshot(group) == 0.0
    assert limited.snapshot(group) == 4.0 - LEAD_SECONDS
    assert limited.register(group) == 4.0


def test_registering_and_deregistering_share_one_bucket() -> None:
    limited = Limited(registration=Quota(1, 0.2))
    group = limited.group()
    assert (limited.register(group), limited.deregister(group), limited.register(group)) == (
        0.0,
        5.0,
        10.0,
    )
    assert limited.calls.made == ["register", "deregister", "register"]


def test_a_snapshot_waits_until_a_change_could_follow_before_the_plan_is_stale() -> None:
    limited = Limited(registration=Quota(1, 0.2))
    group = limited.group()
    limited.register(group)
    assert limited.snapshot(group) == 5.0 - LEAD_SECONDS
    assert limited.register(group) == 5.0


def test_the_next_change_uses_tokens_that_were_taken_and_not_used() -> None:
    limited = Limited(registration=Quota(1, 0.2))
    group = limited.group()
    limited.wait(group.before_change())
    limited.wait(group.before_change())
    # The plan was stale: the empty bucket does not delay the snapshot.
    assert limited.snapshot(group) == 0.0
    assert limited.register(group) == 0.0
    assert limited.register(group) == 5.0


def test_a_change_never_waits_for_a_snapshot() -> None:
    limited = Limited(account=Quota(1, 0.5))
    describing, changing = limited.group(), limited.group()
    limited.snapshot(changing)
    waiting = [limited.group().before_snapshot() for _ in range(3)]
    for waits in (describing.before_snapshot(), *waiting):
        assert next(waits) > limited.clock.now()
    assert limited.register(changing) == 2.0


def test_waiting_runs_take_their_snapshots_in_the_sequence_of_their_start() -> None:
    limited = Limited(describe=Quota(1, 0.5))
    first, second, third = limited.group(), limited.group(), limited.group()
    limited.snapshot(third)
    waits = {"third": third.before_snapshot(), "second": second.before_snapshot()}
    assert [next(it) - limited.began for it in waits.values()] == [2.0, 2.0]
    waits["first"] = first.before_snapshot()
    assert next(waits["first"]) - limited.began == 2.0
    limited.clock.sleep_until(limited.began + 2.0)
    assert [next(waits[it]) - limited.began for it in ("third", "second")] == [6.0, 4.0]
    assert list(waits["first"]) == []


def test_a_closed_run_does_not_delay_the_others() -> None:
    limited = Limited(describe=Quota(1, 0.5))
    first, second = limited.group(), limited.group()
    limited.snapshot(second)
    abandoned = first.before_snapshot()
    next(abandoned)
    abandoned.close()
    assert limited.snapshot(second) == 2.0


def test_a_throttling_halves_the_rate_even_if_a_retry_succeeds() -> None:
    limited = Limited(describe=Quota(1, 0.5))
    group = limited.group()
    limited.calls.throttle_next = True
    assert limited.snapshot(group) == 0.0
    # Half of the rate, plus a sixteenth of the full rate after each success.
    assert limited.snapshot(group) == 4.0
    assert limited.snapshot(group) == 4.0 + round(1 / (0.25 + 0.5 / 16), 3)


def test_a_failed_call_after_a_throttling_halves_the_rate() -> None:
    limited = Limited(registration=Quota(1, 1.0))
    group = limited.group()
    limited.wait(group.before_change())
    limited.calls.throttle_next, limited.calls.fail_next = True, OSError("throttled three times")
    with pytest.raises(OSError, match="three times"):
        group.register(TARGETS)
    assert limited.register(group) == 2.0


def test_a_failed_call_uses_up_its_tokens() -> None:
    limited = Limited(registration=Quota(1, 0.2))
    group = limited.group()
    limited.wait(group.before_change())
    limited.calls.fail_next = OSError("timed out")
    with pytest.raises(OSError, match="timed out"):
        group.deregister(TARGETS)
    assert limited.deregister(group) == 5.0


def test_is_busy_while_a_run_waits_for_its_snapshot() -> None:
    limited = Limited(describe=Quota(1, 0.5))
    first, second = limited.group(), limited.group()
    limited.snapshot(first)
    waits = second.before_snapshot()
    next(waits)
    assert limited.rate_limiter.is_busy
    limited.clock.sleep_until(limited.began + 2.0)
    assert list(waits) == []
    assert not limited.rate_limiter.is_busy


def test_the_last_snapshot_of_a_run_leaves_half_of_the_tokens_and_lets_others_begin() -> None:
    limited = Limited(account=Quota(4, 0.5))
    group, other = limited.group(), limited.group()
    limited.deregister(group)
    limited.snapshot(other)
    # Two of four tokens are left; the third one comes after 2 s.
    waits = group.before_snapshot()
    assert next(waits) - limited.began == 2.0
    assert not limited.rate_limiter.is_busy
    assert limited.snapshot(other) == 0.0
    limited.clock.sleep_until(limited.began + 2.0)
    assert next(waits) - limited.began == 4.0
