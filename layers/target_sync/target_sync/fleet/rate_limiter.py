"""Delays the calls to ELB until the worker's call budget has a token for them.

Every wait is a generator of the times at which to continue, as in ``Reconciler.run_in_steps``. The
runs of one worker share its budget that way, and a waiting run does not block the others.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import count
from typing import Any, TypeVar

from target_sync.aws import THROTTLED_CODES
from target_sync.fleet.ports import GroupTagsPort
from target_sync.fleet.rate_limits import Call, CallBudget
from target_sync.model import Target, TargetGroup
from target_sync.ports import Clock, TargetGroupPort
from target_sync.reconcile.loop import STALE_SECONDS

#: A snapshot is taken only if a change could follow within this time. Later the plan would be
#: stale, and the snapshot useless.
LEAD_SECONDS = STALE_SECONDS - 2.0

_T = TypeVar("_T")


class ThrottlingCounter:
    """Counts the throttled responses to a client, including those that botocore retried.

    The outcome of a call does not show a throttling that a retry made good.
    """

    def __init__(self, client: Any) -> None:
        self._count = 0
        client.meta.events.register("response-received", self._received)

    def count(self) -> int:
        """Return the number of throttled responses."""
        return self._count

    def _received(self, parsed_response: Mapping[str, Any] | None = None, **_: object) -> None:
        # There is no response after a network error (botocore, ``Endpoint._get_response``).
        code = (parsed_response or {}).get("Error", {}).get("Code")
        self._count += code in THROTTLED_CODES


class CallRateLimiter:
    """The call budget of one worker, which several runs share.

    ``throttled`` returns the number of throttled responses so far.
    """

    def __init__(self, clock: Clock, budget: CallBudget, throttled: Callable[[], int]) -> None:
        self._clock = clock
        self._budget = budget
        self._throttled = throttled
        self._tickets = count()
        self._waiting = set[int]()

    def ticket(self) -> int:
        """Return the number of a run. Waiting runs take their snapshots in this sequence."""
        return next(self._tickets)

    def take(self, call: Call) -> float:
        """Take the tokens of a call, and return the time at which it may be made."""
        self._budget, at = self._budget.take(call, self._clock.now())
        return at

    def before_snapshot(
        self, ticket: int, change_ready_at: float | None
    ) -> Generator[float, None, None]:
        """Wait until the group may be described, and take the tokens.

        It takes the tokens at the end of the wait, so that a change, which is urgent, never waits
        for a snapshot. A change that already has its tokens may be made at ``change_ready_at``.
        """
        self._waiting.add(ticket)
        try:
            while (at := self._snapshot_at(ticket, change_ready_at)) > self._clock.now():
                yield at
        finally:
            self._waiting.discard(ticket)
        self.take(Call.DESCRIBE)

    def call(self, call: Call, method: Callable[[], _T]) -> _T:
        """Make a call that has its tokens, and adapt the budget to the outcome."""
        before = self._throttled()
        try:
            return method()
        finally:
            throttled = self._throttled() > before
            adapt = self._budget.throttled if throttled else self._budget.succeeded
            self._budget = adapt(call, self._clock.now())

    def write_tag(
        self, tags: GroupTagsPort, arn: str, key: str, value: str
    ) -> Generator[float, None, None]:
        """Set one tag once the budget allows it. Raises like ``GroupTagsPort``."""
        if (at := self.take(Call.MUTATING)) > self._clock.now():
            yield at
        self.call(Call.MUTATING, lambda: tags.write(arn, key, value))

    def _snapshot_at(self, ticket: int, change_ready_at: float | None) -> float:
        now, ahead, at = self._clock.now(), self._budget, 0.0
        for _ in range(1 + sum(other < ticket for other in self._waiting)):
            ahead, at = ahead.take(Call.DESCRIBE, now)
        if change_ready_at is None:
            _, change_ready_at = ahead.take(Call.REGISTRATION, now)
        return max(at, change_ready_at - LEAD_SECONDS)


class RateLimitedTargetGroup:
    """A target group for one run, whose calls wait for the worker's call budget.

    Implements ``target_sync.ports.TargetGroupPort`` and, for the same run, ``RateLimiter``. One
    token pays for up to 200 targets; a larger group is rare and exceeds the budget a little.
    """

    def __init__(self, group: TargetGroupPort, rate_limiter: CallRateLimiter, clock: Clock) -> None:
        self._group = group
        self._rate_limiter = rate_limiter
        self._clock = clock
        self._ticket = rate_limiter.ticket()
        self._change_ready_at: float | None = None

    def before_snapshot(self) -> Generator[float, None, None]:
        """Wait until the group may be described."""
        yield from self._rate_limiter.before_snapshot(self._ticket, self._change_ready_at)

    def before_change(self) -> Generator[float, None, None]:
        """Wait until targets may be registered or deregistered."""
        if self._change_ready_at is None:
            self._change_ready_at = self._rate_limiter.take(Call.REGISTRATION)
        if self._change_ready_at > self._clock.now():
            yield self._change_ready_at

    def describe(self) -> TargetGroup:
        """Return the targets with their health, draining ones included."""
        return self._rate_limiter.call(Call.DESCRIBE, self._group.describe)

    def register(self, targets: Sequence[Target]) -> None:
        """Register targets."""
        self._change_ready_at = None
        self._rate_limiter.call(Call.REGISTRATION, lambda: self._group.register(targets))

    def deregister(self, targets: Sequence[Target]) -> None:
        """Deregister targets."""
        self._change_ready_at = None
        self._rate_limiter.call(Call.REGISTRATION, lambda: self._group.deregister(targets))
