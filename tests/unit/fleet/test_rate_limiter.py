"""Each call waits for its token, on the clock of all runs of a worker."""

from collections.abc import Iterable, Sequence

import pytest

from target_sync.fleet.rate_limiter import (
    LEAD_SECONDS,
    CallRateLimiter,
    RateLimitedTags,
    RateLimitedTargetGroup,
)
from target_sync.fleet.rate_limits import Call, CallBudget, Quota, TokenBucket
from target_sync.model import Target, TargetGroup
from tests.support.clock import FakeClock
from tests.unit.fleet.builders import A, arn

TARGETS = [Target(A, 5432)]
#: A bucket that never is what a call waits for.
PLENTY = Quota(1_000, 1_000)


class Calls:
    """A target group and its tags that only count, and may be slowed down."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.slowed_down = 0
        self.slow_down_next = False
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
        self.slowed_down += self.slow_down_next
        self.slow_down_next = False
        error, self.fail_next = self.fail_next, None
        if error:
            raise error


class Desk:
    """A worker's pacer, with buckets as given and a call that is refused by nobody."""

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
        self.rate_limiter = CallRateLimiter(self.clock, budget, lambda: self.calls.slowed_down)
        self.began = now

    def group(self) -> RateLimitedTargetGroup:
        return RateLimitedTargetGroup(self.calls, self.rate_limiter, self.clock)

    def look(self, group: RateLimitedTargetGroup) -> float:
        """Describe when it may be, and answer with the seconds since the beginning."""
        self.passes(group.before_snapshot())
        group.describe()
        return self.elapsed

    def register(self, group: RateLimitedTargetGroup) -> float:
        self.passes(group.before_change())
        group.register(TARGETS)
        return self.elapsed

    def deregister(self, group: RateLimitedTargetGroup) -> float:
        self.passes(group.before_change())
        group.deregister(TARGETS)
        return self.elapsed

    def passes(self, waits: Iterable[float]) -> None:
        for at in waits:
            assert at > self.clock.now()
            self.clock.sleep_until(at)

    @property
    def elapsed(self) -> float:
        return round(self.clock.now() - self.began, 3)


def test_a_description_waits_for_its_token() -> None:
    desk = Desk(describe=Quota(1, 0.5))
    group = desk.group()
    assert [desk.look(group) for _ in range(3)] == [0.0, 2.0, 4.0]
    assert desk.calls.made == ["describe"] * 3


def test_a_snapshot_leaves_a_token_of_the_account_for_its_change() -> None:
    desk = Desk(account=Quota(2, 0.25))
    group = desk.group()
    # A token every 4 s: the change could not follow a look at 0 s within the lead.
    assert desk.look(group) == 0.0
    assert desk.look(group) == 4.0 - LEAD_SECONDS
    assert desk.register(group) == 4.0


def test_registering_and_deregistering_share_one_bucket() -> None:
    desk = Desk(registration=Quota(1, 0.2))
    group = desk.group()
    assert (desk.register(group), desk.deregister(group), desk.register(group)) == (0.0, 5.0, 10.0)
    assert desk.calls.made == ["register", "deregister", "register"]


def test_a_snapshot_waits_until_a_change_could_follow_before_the_plan_is_stale() -> None:
    desk = Desk(registration=Quota(1, 0.2))
    group = desk.group()
    desk.register(group)
    assert desk.look(group) == 5.0 - LEAD_SECONDS
    assert desk.register(group) == 5.0


def test_the_next_change_uses_tokens_that_were_taken_and_not_used() -> None:
    desk = Desk(registration=Quota(1, 0.2))
    group = desk.group()
    desk.passes(group.before_change())
    desk.passes(group.before_change())
    # The plan had become old: the look is not held up by a bucket that is empty now.
    assert desk.look(group) == 0.0
    assert desk.register(group) == 0.0
    assert desk.register(group) == 5.0


def test_a_change_never_waits_for_a_snapshot() -> None:
    desk = Desk(account=Quota(1, 0.5))
    looking, changing = desk.group(), desk.group()
    desk.look(changing)
    waiting = [desk.group().before_snapshot() for _ in range(3)]
    for waits in (looking.before_snapshot(), *waiting):
        assert next(waits) > desk.clock.now()
    assert desk.register(changing) == 2.0


def test_waiting_runs_take_their_snapshots_in_the_sequence_of_their_start() -> None:
    desk = Desk(describe=Quota(1, 0.5))
    first, second, third = desk.group(), desk.group(), desk.group()
    desk.look(third)
    waits = {"third": third.before_snapshot(), "second": second.before_snapshot()}
    assert [next(it) - desk.began for it in waits.values()] == [2.0, 2.0]
    waits["first"] = first.before_snapshot()
    assert next(waits["first"]) - desk.began == 2.0
    desk.clock.sleep_until(desk.began + 2.0)
    assert [next(waits[it]) - desk.began for it in ("third", "second")] == [6.0, 4.0]
    assert list(waits["first"]) == []


def test_a_closed_run_does_not_delay_the_others() -> None:
    desk = Desk(describe=Quota(1, 0.5))
    first, second = desk.group(), desk.group()
    desk.look(second)
    abandoned = first.before_snapshot()
    next(abandoned)
    abandoned.close()
    assert desk.look(second) == 2.0


def test_a_tag_waits_for_its_token() -> None:
    desk = Desk(mutating=Quota(1, 0.1))
    tags = RateLimitedTags(desk.calls, desk.rate_limiter, desk.clock)
    desk.passes(tags.write(arn(1), "key", "one"))
    desk.passes(tags.write(arn(1), "key", "two"))
    assert desk.elapsed == 10.0
    assert desk.calls.made == [f"{arn(1)} key=one", f"{arn(1)} key=two"]


def test_a_throttling_halves_the_rate_even_if_a_retry_succeeds() -> None:
    desk = Desk(describe=Quota(1, 0.5))
    group = desk.group()
    desk.calls.slow_down_next = True
    assert desk.look(group) == 0.0
    # Half of the rate, and a sixteenth of the whole more after each success.
    assert desk.look(group) == 4.0
    assert desk.look(group) == 4.0 + round(1 / (0.25 + 0.5 / 16), 3)


def test_a_failed_call_after_a_throttling_halves_the_rate() -> None:
    desk = Desk(registration=Quota(1, 1.0))
    group = desk.group()
    desk.passes(group.before_change())
    desk.calls.slow_down_next, desk.calls.fail_next = True, OSError("throttled three times")
    with pytest.raises(OSError, match="three times"):
        group.register(TARGETS)
    assert desk.register(group) == 2.0


def test_a_failed_call_uses_up_its_tokens() -> None:
    desk = Desk(registration=Quota(1, 0.2))
    group = desk.group()
    desk.passes(group.before_change())
    desk.calls.fail_next = OSError("timed out")
    with pytest.raises(OSError, match="timed out"):
        group.deregister(TARGETS)
    assert desk.deregister(group) == 5.0
