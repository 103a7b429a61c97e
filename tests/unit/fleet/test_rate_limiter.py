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
from tests.unit.fleet.builders import A, arn

TARGETS = [Target(A, 5432)]
#: A bucket that never delays a call.
PLENTY = Quota(1_000, 1_000)


class Calls:
    """A target group and its tags that record the calls, and may be throttled."""

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

    def write(self, arn: str, key: str, value: str) -> None:
        self._called(f"{arn} {key}={value}")

    def _called(self, what: str) -> None:
        self.made.append(what)
        self.throttled += self.throttle_next
        self.throttle_next = False
        error, self.fail_next = self.fail_next, None
        if error:
            raise error


class LimitedWorker:
    """A worker's rate limiter with these buckets, over calls that always succeed by default."""

    def __init__(
        self,
        *,
        describe: Quota = PLENTY,
        registration: Quota = PLENTY,
        mutating: Quota = PLENTY,
        account: Quota = PLENTY,
    ) -> None:
        self.clock = FakeClock()
        self.calls = Calls()
        now = self.clock.now()
        quotas = {
            Call.DESCRIBE: describe,
            Call.REGISTRATION: registration,
            Call.MUTATING: mutating,
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
    worker = LimitedWorker(describe=Quota(1, 0.5))
    group = worker.group()
    assert [worker.snapshot(group) for _ in range(3)] == [0.0, 2.0, 4.0]
    assert worker.calls.made == ["describe"] * 3


def test_a_snapshot_leaves_a_token_of_the_account_for_its_change() -> None:
    worker = LimitedWorker(account=Quota(2, 0.25))
    group = worker.group()
    # A token every 4 s: the change could not follow a snapshot at 0 s within the lead.
    assert worker.snapshot(group) == 0.0
    assert worker.snapshot(group) == 4.0 - LEAD_SECONDS
    assert worker.register(group) == 4.0


def test_registering_and_deregistering_share_one_bucket() -> None:
    worker = LimitedWorker(registration=Quota(1, 0.2))
    group = worker.group()
    assert (worker.register(group), worker.deregister(group), worker.register(group)) == (
        0.0,
        5.0,
        10.0,
    )
    assert worker.calls.made == ["register", "deregister", "register"]


def test_a_snapshot_waits_until_a_change_could_follow_before_the_plan_is_stale() -> None:
    worker = LimitedWorker(registration=Quota(1, 0.2))
    group = worker.group()
    worker.register(group)
    assert worker.snapshot(group) == 5.0 - LEAD_SECONDS
    assert worker.register(group) == 5.0


def test_the_next_change_uses_tokens_that_were_taken_and_not_used() -> None:
    worker = LimitedWorker(registration=Quota(1, 0.2))
    group = worker.group()
    worker.wait(group.before_change())
    worker.wait(group.before_change())
    # The plan was stale: the empty bucket does not delay the snapshot.
    assert worker.snapshot(group) == 0.0
    assert worker.register(group) == 0.0
    assert worker.register(group) == 5.0


def test_a_change_never_waits_for_a_snapshot() -> None:
    worker = LimitedWorker(account=Quota(1, 0.5))
    describing, changing = worker.group(), worker.group()
    worker.snapshot(changing)
    waiting = [worker.group().before_snapshot() for _ in range(3)]
    for waits in (describing.before_snapshot(), *waiting):
        assert next(waits) > worker.clock.now()
    assert worker.register(changing) == 2.0


def test_waiting_runs_take_their_snapshots_in_the_sequence_of_their_start() -> None:
    worker = LimitedWorker(describe=Quota(1, 0.5))
    first, second, third = worker.group(), worker.group(), worker.group()
    worker.snapshot(third)
    waits = {"third": third.before_snapshot(), "second": second.before_snapshot()}
    assert [next(it) - worker.began for it in waits.values()] == [2.0, 2.0]
    waits["first"] = first.before_snapshot()
    assert next(waits["first"]) - worker.began == 2.0
    worker.clock.sleep_until(worker.began + 2.0)
    assert [next(waits[it]) - worker.began for it in ("third", "second")] == [6.0, 4.0]
    assert list(waits["first"]) == []


def test_a_closed_run_does_not_delay_the_others() -> None:
    worker = LimitedWorker(describe=Quota(1, 0.5))
    first, second = worker.group(), worker.group()
    worker.snapshot(second)
    abandoned = first.before_snapshot()
    next(abandoned)
    abandoned.close()
    assert worker.snapshot(second) == 2.0


def test_a_tag_waits_for_its_token() -> None:
    worker = LimitedWorker(mutating=Quota(1, 0.1))
    for value in ("one", "two"):
        worker.wait(worker.rate_limiter.write_tag(worker.calls, arn(1), "key", value))
    assert worker.elapsed == 10.0
    assert worker.calls.made == [f"{arn(1)} key=one", f"{arn(1)} key=two"]


def test_a_throttling_halves_the_rate_even_if_a_retry_succeeds() -> None:
    worker = LimitedWorker(describe=Quota(1, 0.5))
    group = worker.group()
    worker.calls.throttle_next = True
    assert worker.snapshot(group) == 0.0
    # Half of the rate, plus a sixteenth of the full rate after each success.
    assert worker.snapshot(group) == 4.0
    assert worker.snapshot(group) == 4.0 + round(1 / (0.25 + 0.5 / 16), 3)


def test_a_failed_call_after_a_throttling_halves_the_rate() -> None:
    worker = LimitedWorker(registration=Quota(1, 1.0))
    group = worker.group()
    worker.wait(group.before_change())
    worker.calls.throttle_next, worker.calls.fail_next = True, OSError("throttled three times")
    with pytest.raises(OSError, match="three times"):
        group.register(TARGETS)
    assert worker.register(group) == 2.0


def test_a_failed_call_uses_up_its_tokens() -> None:
    worker = LimitedWorker(registration=Quota(1, 0.2))
    group = worker.group()
    worker.wait(group.before_change())
    worker.calls.fail_next = OSError("timed out")
    with pytest.raises(OSError, match="timed out"):
        group.deregister(TARGETS)
    assert worker.deregister(group) == 5.0
