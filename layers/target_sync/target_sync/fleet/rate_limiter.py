"""Calls to ELB, each when the fleet's budget has a token for it.

Every wait is a course of moments at which to go on, as in ``Reconciler.run_in_steps``: so the
runs of one worker share its budget, and none holds up the others while it waits.
"""

from collections.abc import Callable, Generator, Sequence
from itertools import count
from typing import TypeVar

from target_sync.fleet.ports import GroupTagsPort
from target_sync.fleet.rate_limits import Call, CallBudget
from target_sync.model import Target, TargetGroup
from target_sync.ports import Clock, TargetGroupPort
from target_sync.reconcile.loop import STALE_SECONDS

#: A look is taken only when a change that it may ask for could follow within so long. Else the
#: plan would be too old by then, and the look would have been in vain.
LEAD_SECONDS = STALE_SECONDS - 2.0

_T = TypeVar("_T")


class CallRateLimiter:
    """The budget of one worker, kept from run to run.

    Args:
        clock: The budget's.
        budget: As it is now.
        throttlings: How often AWS has said slow down up to now, also where a retry of the client
            made it good.
    """

    def __init__(self, clock: Clock, budget: CallBudget, throttlings: Callable[[], int]) -> None:
        self._clock = clock
        self._budget = budget
        self._throttlings = throttlings
        self._tickets = count()
        self._waiting = set[int]()

    def ticket(self) -> int:
        """A number for a run: of those that wait for a look, the first to begin is the next."""
        return next(self._tickets)

    def take(self, call: Call) -> float:
        """Pay for a call, and answer with when it may go."""
        self._budget, at = self._budget.take(call, self._clock.now())
        return at

    def before_snapshot(
        self, ticket: int, change_paid_at: float | None
    ) -> Generator[float, None, None]:
        """Wait for a description, and pay for it.

        A look pays when its turn has come and not before, so that a change, which cannot wait,
        stands behind no look.

        Args:
            ticket: The run's.
            change_paid_at: When a change may go that has been paid for; None if none has.
        """
        self._waiting.add(ticket)
        try:
            while (at := self._look_at(ticket, change_paid_at)) > self._clock.now():
                yield at
        finally:
            self._waiting.discard(ticket)
        self.take(Call.DESCRIBE)

    def call(self, call: Call, deed: Callable[[], _T]) -> _T:
        """Make a call that has been paid for, and learn from how it went."""
        before = self._throttlings()
        try:
            return deed()
        finally:
            slow = self._throttlings() > before
            learn = self._budget.throttled if slow else self._budget.succeeded
            self._budget = learn(call, self._clock.now())

    def _look_at(self, ticket: int, change_paid_at: float | None) -> float:
        now, ahead, at = self._clock.now(), self._budget, 0.0
        for _ in range(1 + sum(other < ticket for other in self._waiting)):
            ahead, at = ahead.take(Call.DESCRIBE, now)
        change_at = change_paid_at
        if change_at is None:
            _, change_at = ahead.take(Call.REGISTRATION, now)
        return max(at, change_at - LEAD_SECONDS)


class RateLimitedTargetGroup:
    """A target group for one run, whose calls the budget pays for.

    Implements ``target_sync.ports.TargetGroupPort`` and, for the same run, ``Pace``. One
    call pays for up to 200 targets; a group with more is rare, and goes a little over.
    """

    def __init__(self, group: TargetGroupPort, rate_limiter: CallRateLimiter, clock: Clock) -> None:
        self._group = group
        self._pacer = rate_limiter
        self._clock = clock
        self._ticket = rate_limiter.ticket()
        self._change_paid_at: float | None = None

    def before_snapshot(self) -> Generator[float, None, None]:
        """Wait until the group may be described."""
        yield from self._pacer.before_snapshot(self._ticket, self._change_paid_at)

    def before_change(self) -> Generator[float, None, None]:
        """Wait until targets may be registered or deregistered."""
        if self._change_paid_at is None:
            self._change_paid_at = self._pacer.take(Call.REGISTRATION)
        if self._change_paid_at > self._clock.now():
            yield self._change_paid_at

    def describe(self) -> TargetGroup:
        """List the targets with their health, draining ones included."""
        return self._pacer.call(Call.DESCRIBE, self._group.describe)

    def register(self, targets: Sequence[Target]) -> None:
        """Register targets."""
        self._change_paid_at = None
        self._pacer.call(Call.REGISTRATION, lambda: self._group.register(targets))

    def deregister(self, targets: Sequence[Target]) -> None:
        """Deregister targets."""
        self._change_paid_at = None
        self._pacer.call(Call.REGISTRATION, lambda: self._group.deregister(targets))


class RateLimitedTags:
    """The fleet's tags, which the budget pays for."""

    def __init__(self, tags: GroupTagsPort, rate_limiter: CallRateLimiter, clock: Clock) -> None:
        self._tags = tags
        self._pacer = rate_limiter
        self._clock = clock

    def write(self, arn: str, key: str, value: str) -> Generator[float, None, None]:
        """Set one tag, after the waits that it takes. Raises like ``GroupTagsPort``."""
        if (at := self._pacer.take(Call.MUTATING)) > self._clock.now():
            yield at
        self._pacer.call(Call.MUTATING, lambda: self._tags.write(arn, key, value))
