"""Delays the calls to ELB until the fleet's call budget has a token for them.

Every wait is a generator of the times at which to continue, as in ``Reconciler.run_in_steps``. The
runs share the budget that way, and a waiting run blocks no thread. The threads that make the calls
of several runs may use the limiter at the same time.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import count
from threading import Lock, local
from typing import Any, TypeVar

from target_sync.aws import THROTTLED_CODES
from target_sync.fleet.rate_limits import Call, CallBudget
from target_sync.model import Target, TargetGroup
from target_sync.ports import Clock, TargetGroupPort
from target_sync.reconcile.loop import STALE_SECONDS

#: A snapshot is taken only if a change could follow within this time. Later the plan would be
#: stale, and the snapshot useless.
LEAD_SECONDS = STALE_SECONDS - 3.0

_T = TypeVar("_T")


class ThrottlingCounter:
    """Counts the throttled responses to a client, including those that botocore retried.

    The outcome of a call does not show a throttling that a retry made good. Each thread has its
    own count, so that one throttling does not slow down the fleet twice.
    """

    def __init__(self, client: Any) -> None:
        self._of_thread = local()
        client.meta.events.register("response-received", self._received)

    def count(self) -> int:
        """Return the number of throttled responses in this thread."""
        return getattr(self._of_thread, "count", 0)

    def _received(self, parsed_response: Mapping[str, Any] | None = None, **_: object) -> None:
        # There is no response after a network error (botocore, ``Endpoint._get_response``).
        code = (parsed_response or {}).get("Error", {}).get("Code")
        self._of_thread.count = self.count() + (code in THROTTLED_CODES)


class CallRateLimiter:
    """The call budget of a container, which its runs share.

    ``throttled`` returns the number of throttled responses so far.
    """

    def __init__(self, clock: Clock, budget: CallBudget, throttled: Callable[[], int]) -> None:
        self._clock = clock
        self._budget = budget
        self._throttled = throttled
        self._tickets = count()
        self._waiting = set[int]()
        self._lock = Lock()

    @property
    def is_busy(self) -> bool:
        """Whether a run waits for its snapshot. Another run would only wait behind it."""
        return bool(self._waiting)

    def ticket(self) -> int:
        """Return the number of a run. Waiting runs take their snapshots in this sequence."""
        return next(self._tickets)

    def take(self, call: Call) -> float:
        """Take the tokens of a call, and return the time at which it may be made."""
        with self._lock:
            self._budget, at = self._budget.take(call, self._clock.now())
        return at

    def before_snapshot(
        self, ticket: int, change_ready_at: float | None, *, is_last: bool
    ) -> Generator[float, None, None]:
        """Wait until the group may be described, and take the tokens.

        It takes the tokens at the end of the wait, so that a change, which is urgent, never waits
        for a snapshot. A change that already has its tokens may be made at ``change_ready_at``.
        The last snapshot only shows the effect of a removal. It leaves half of the account's tokens
        to the other runs, and keeps none from beginning.
        """
        with self._lock:
            self._waiting |= set() if is_last else {ticket}
        try:
            while (at := self._take_snapshot(ticket, change_ready_at, is_last)) is not None:
                yield at
        finally:
            with self._lock:
                self._waiting.discard(ticket)

    def call(self, call: Call, method: Callable[[], _T]) -> _T:
        """Make a call that has its tokens, and adapt the budget to the outcome."""
        before = self._throttled()
        try:
            return method()
        finally:
            throttled = self._throttled() > before
            with self._lock:
                now = self._clock.now()
                self._budget = self._budget.after_call(call, now, throttled=throttled)

    def _take_snapshot(
        self,
        ticket: int,
        change_ready_at: float | None,
        is_last: bool,  # noqa: FBT001 - of a private method
    ) -> float | None:
        """Take the tokens if the group may be described now; otherwise return when it may."""
        with self._lock:
            now, ahead, at = self._clock.now(), self._budget, 0.0
            others = sum(other < ticket for other in self._waiting)
            if is_last:
                others = len(self._waiting) + int(ahead.account.quota.capacity / 2)
            for _ in range(1 + others):
                ahead, at = ahead.take(Call.DESCRIBE, now)
            if change_ready_at is None:
                _, change_ready_at = ahead.take(Call.REGISTRATION, now)
            at = max(at, change_ready_at - LEAD_SECONDS)
            if at > now:
                return at
            self._budget, _ = self._budget.take(Call.DESCRIBE, now)
            return None


class RateLimitedTargetGroup:
    """A target group for one run, whose calls wait for the call budget.

    Implements ``target_sync.ports.TargetGroupPort`` and, for the same run, ``RateLimiter``. One
    token pays for up to 200 targets; a larger group is rare and exceeds the budget a little.
    """

    def __init__(self, group: TargetGroupPort, rate_limiter: CallRateLimiter, clock: Clock) -> None:
        self._group = group
        self._rate_limiter = rate_limiter
        self._clock = clock
        self._ticket = rate_limiter.ticket()
        self._change_ready_at: float | None = None
        self._has_removed = False

    def before_snapshot(self) -> Generator[float, None, None]:
        """Wait until the group may be described."""
        yield from self._rate_limiter.before_snapshot(
            self._ticket, self._change_ready_at, is_last=self._has_removed
        )

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
        self._change_ready_at, self._has_removed = None, False
        self._rate_limiter.call(Call.REGISTRATION, lambda: self._group.register(targets))

    def deregister(self, targets: Sequence[Target]) -> None:
        """Deregister targets."""
        self._change_ready_at = None
        self._rate_limiter.call(Call.REGISTRATION, lambda: self._group.deregister(targets))
        self._has_removed = True
