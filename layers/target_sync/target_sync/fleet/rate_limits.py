"""The call budget: how many calls the fleet may make, and when the next one may be made.

AWS throttles ELB by token buckets for a whole account and Region. The fleet keeps to a share of
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Call(StrEnum):
    """The token bucket of a call, beside the account's own."""

    DESCRIBE = "describe"
    REGISTRATION = "registration"


@dataclass(frozen=True, slots=True)
class Quota:
    """A token bucket's size, in calls, and its refill, in calls per second."""

    capacity: float
    refill: float

    def part(self, share: float) -> "Quota":
        """Return a share of this quota, above 0 and at most 1."""
        return Quota(self.capacity * share, self.refill * share)


#: ELB's buckets (Elastic Load Balancing user guide, "Throttling for the ELB API").
QUOTAS: Mapping[Call, Quota] = {
    Call.DESCRIBE: Quota(40, 10),
    Call.REGISTRATION: Quota(20, 4),
}
#: Every call also takes a token from this bucket.
ACCOUNT_QUOTA = Quota(40, 10)
#: The part of all buckets that the fleet uses by default.
DEFAULT_SHARE = 0.5

#: Additive increase, multiplicative decrease, as TCP does on a line that it shares with unknown
#: senders: the factor after a throttling, the step after a success, and the lowest rate.
_DECREASE, _INCREASE, _LOWEST = 1 / 2, 1 / 16, 1 / 32


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """A token bucket whose refill falls with each throttling and rises with each success.

    Attributes:
        quota: The upper limit: in any period of t seconds, ``capacity + refill * t`` calls.
        tokens: The level at ``at``; below zero if it has granted calls in the future.
        rate: The present refill, at most that of the quota.
        at: The time of the level.
    """

    quota: Quota
    tokens: float
    rate: float
    at: float

    @classmethod
    def full(cls, quota: Quota, now: float) -> "TokenBucket":
        """Return a full bucket."""
        return cls(quota, quota.capacity, quota.refill, now)

    def take(self, now: float) -> tuple["TokenBucket", float]:
        """Take one token; return the new bucket and the time at which the call may be made."""
        level = self._refilled(now)
        ready_at = level.at + max(0.0, 1.0 - level.tokens) / level.rate
        return replace(level, tokens=level.tokens - 1.0), ready_at

    def after_call(self, now: float, *, throttled: bool) -> "TokenBucket":
        """Return the bucket after a call: a slightly higher rate, or a lower one if throttled.

        After a throttling no tokens are left: other callers use more than we knew.
        """
        level, full_rate = self._refilled(now), self.quota.refill
        if throttled:
            rate = max(level.rate * _DECREASE, full_rate * _LOWEST)
            return replace(level, rate=rate, tokens=min(level.tokens, 0.0))
        return replace(level, rate=min(level.rate + full_rate * _INCREASE, full_rate))

    def _refilled(self, now: float) -> "TokenBucket":
        now = max(now, self.at)
        tokens = min(self.quota.capacity, self.tokens + (now - self.at) * self.rate)
        return replace(self, tokens=tokens, at=now)


@dataclass(frozen=True, slots=True)
class CallBudget:
    """The buckets of the fleet. Each method returns a new budget."""

    buckets: Mapping[Call, TokenBucket]
    account: TokenBucket

    @classmethod
    def of(cls, now: float, share: float = DEFAULT_SHARE) -> "CallBudget":
        """Return the full buckets of a share."""
        buckets = {call: TokenBucket.full(quota.part(share), now) for call, quota in QUOTAS.items()}
        return cls(buckets, TokenBucket.full(ACCOUNT_QUOTA.part(share), now))

    def take(self, call: Call, now: float) -> tuple["CallBudget", float]:
        """Take the tokens of a call; return the new budget and when the call may be made."""
        bucket, ready_at = self.buckets[call].take(now)
        account, account_ready_at = self.account.take(now)
        return self._with(call, bucket, account), max(ready_at, account_ready_at)

    def after_call(self, call: Call, now: float, *, throttled: bool) -> "CallBudget":
        """Return the budget after a call. AWS does not name a bucket, so both slow down."""
        bucket, account = (
            it.after_call(now, throttled=throttled) for it in (self.buckets[call], self.account)
        )
        return self._with(call, bucket, account)

    def _with(self, call: Call, bucket: TokenBucket, account: TokenBucket) -> "CallBudget":
        return CallBudget({**self.buckets, call: bucket}, account)
