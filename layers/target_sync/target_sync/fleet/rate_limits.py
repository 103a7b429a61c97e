"""How many calls the fleet may make, and when the next one may go.

AWS throttles ELB by token buckets for a whole account and Region. The fleet keeps to a share of
them. Its workers have no database to share a counter in, so each gets a fixed part: the share,
divided by how many of them there may be at once. All of them together then never exceed it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Call(StrEnum):
    """What a call is charged to, beside the account's own bucket."""

    DESCRIBE = "describe"
    REGISTRATION = "registration"
    MUTATING = "mutating"


@dataclass(frozen=True, slots=True)
class Quota:
    """A token bucket's size, in calls, and its refill, in calls a second."""

    capacity: float
    refill: float

    def part(self, share: float, workers: int = 1) -> "Quota":
        """What each of so many workers gets of a share of it.

        Raises:
            ValueError: The share is not in (0, 1], or so little that a worker could never call.
        """
        if not 0 < share <= 1 or workers < 1:
            raise ValueError("a share is more than 0 and at most 1, of one worker or more")
        part = Quota(self.capacity * share / workers, self.refill * share / workers)
        if part.capacity < 1:
            raise ValueError(
                f"{share:g} of {self.capacity:g} calls is not one for each of {workers} workers:"
                " have fewer workers, or a larger share"
            )
        return part


#: ELB's buckets (Elastic Load Balancing user guide, "Throttling for the ELB API").
QUOTAS: Mapping[Call, Quota] = {
    Call.DESCRIBE: Quota(40, 10),
    Call.REGISTRATION: Quota(20, 4),
    Call.MUTATING: Quota(20, 3),
}
#: Every call also takes from this one.
ACCOUNT_QUOTA = Quota(40, 10)
#: How much of all that the fleet takes unless told otherwise.
DEFAULT_SHARE = 0.5


def calls_a_second(share: float) -> float:
    """How many calls, of whatever kind, a share of the account's goes on for without end.

    Raises:
        ValueError: The share is not in (0, 1].
    """
    return ACCOUNT_QUOTA.part(share).refill


#: Additive increase, multiplicative decrease: how TCP finds its part of a line that it shares with
#: senders that it does not know.
_SLOWED_BY, _SPED_UP_BY, _SLOWEST = 1 / 2, 1 / 16, 1 / 32


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """A token bucket that a throttling makes slower and each success a little faster again.

    Attributes:
        quota: The most that it gives. In any stretch of t seconds that is ``capacity + refill *
            t`` calls.
        tokens: What was there at ``at``; below zero if calls are promised that have yet to go.
        rate: The refill at present, at most that of the quota.
        at: When that was.
    """

    quota: Quota
    tokens: float
    rate: float
    at: float

    @classmethod
    def full(cls, quota: Quota, now: float) -> "TokenBucket":
        """A bucket that nobody has taken from."""
        return cls(quota, quota.capacity, quota.refill, now)

    def take(self, now: float) -> tuple["TokenBucket", float]:
        """Take one token, and answer with when the call may go."""
        level = self._refilled(now)
        ready_at = level.at + max(0.0, 1.0 - level.tokens) / level.rate
        return replace(level, tokens=level.tokens - 1.0), ready_at

    def throttled(self, now: float) -> "TokenBucket":
        """AWS said slow down: somebody else takes more than we knew."""
        level = self._refilled(now)
        rate = max(level.rate * _SLOWED_BY, self.quota.refill * _SLOWEST)
        return replace(level, rate=rate, tokens=min(level.tokens, 0.0))

    def succeeded(self, now: float) -> "TokenBucket":
        """A call went through: try a little more."""
        level = self._refilled(now)
        rate = min(level.rate + self.quota.refill * _SPED_UP_BY, self.quota.refill)
        return replace(level, rate=rate)

    def _refilled(self, now: float) -> "TokenBucket":
        now = max(now, self.at)
        tokens = min(self.quota.capacity, self.tokens + (now - self.at) * self.rate)
        return replace(self, tokens=tokens, at=now)


@dataclass(frozen=True, slots=True)
class CallBudget:
    """One worker's buckets. Each method answers a new value and leaves this one alone."""

    buckets: Mapping[Call, TokenBucket]
    account: TokenBucket

    @classmethod
    def of(cls, now: float, *, share: float = DEFAULT_SHARE, workers: int = 1) -> "CallBudget":
        """The budget of one of so many workers.

        Raises:
            ValueError: See ``Quota.part``.
        """
        return cls(
            {
                call: TokenBucket.full(quota.part(share, workers), now)
                for call, quota in QUOTAS.items()
            },
            TokenBucket.full(ACCOUNT_QUOTA.part(share, workers), now),
        )

    def take(self, call: Call, now: float) -> tuple["CallBudget", float]:
        """Take what a call costs, and answer with when it may go."""
        bucket, ready_at = self.buckets[call].take(now)
        account, account_ready_at = self.account.take(now)
        return self._with(call, bucket, account), max(ready_at, account_ready_at)

    def throttled(self, call: Call, now: float) -> "CallBudget":
        """AWS said slow down. It does not say which bucket was empty, so both slow down."""
        return self._with(call, self.buckets[call].throttled(now), self.account.throttled(now))

    def succeeded(self, call: Call, now: float) -> "CallBudget":
        """The call went through."""
        return self._with(call, self.buckets[call].succeeded(now), self.account.succeeded(now))

    def _with(self, call: Call, bucket: TokenBucket, account: TokenBucket) -> "CallBudget":
        return CallBudget({**self.buckets, call: bucket}, account)
