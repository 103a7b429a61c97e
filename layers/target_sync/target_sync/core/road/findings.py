"""The steps of the road, and what one of them was found to be."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from target_sync.core.road.facts import Fact, Skipped, Unknown

_T = TypeVar("_T")


class Step(StrEnum):
    """The steps, in the order in which they are walked. Each is an anchor in docs/status.md."""

    ENDPOINT_NAME = "endpoint-name"
    ALLOWED_ADDRESSES = "allowed-addresses"
    TARGETS_HEALTHY = "targets-healthy"
    POSTGRESQL_ANSWERS = "postgresql-answers"
    NO_DRIFT = "no-drift"
    TARGET_GROUP = "target-group"
    LISTENER = "listener"
    LOAD_BALANCER = "load-balancer"
    AVAILABILITY_ZONES = "availability-zones"
    LOAD_BALANCER_SECURITY_GROUP = "load-balancer-security-group"
    DATABASE_SECURITY_GROUP = "database-security-group"
    ENDPOINT_SERVICE = "endpoint-service"
    ALLOWED_PRINCIPALS = "allowed-principals"
    ENDPOINT_CONNECTIONS = "endpoint-connections"
    FUNCTION_NETWORK = "function-network"
    LAST_SYNC = "last-sync"
    LAST_FAILOVER = "last-failover"
    SCHEDULE = "schedule"
    DEAD_LETTER_QUEUES = "dead-letter-queues"


class State(StrEnum):
    """What a step was found to be."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    #: It could not be looked at; `seen` says why.
    UNKNOWN = "unknown"
    #: There is nothing to look at here, or a broken step before it leaves nothing to look at.
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step was found to be, looked at alone.

    Attributes:
        state: The verdict.
        seen: What was seen, a sentence each.
        remedy: What to do about it, in one sentence; empty if there is nothing to do.
        may_follow_from: Steps that would explain this finding if they are broken, likeliest first.
    """

    state: State
    seen: tuple[str, ...]
    remedy: str = ""
    may_follow_from: tuple[Step, ...] = ()


def ok(*seen: str) -> Finding:
    """The step is as it should be."""
    return Finding(State.OK, seen)


def warning(seen: Iterable[str], remedy: str, *, may_follow_from: tuple[Step, ...] = ()) -> Finding:
    """The step carries traffic, but something about it wants attention."""
    return Finding(State.WARNING, tuple(seen), remedy, may_follow_from)


def broken(seen: Iterable[str], remedy: str, *, may_follow_from: tuple[Step, ...] = ()) -> Finding:
    """The step does not do what the road needs."""
    return Finding(State.BROKEN, tuple(seen), remedy, may_follow_from)


def skipped(why: str) -> Finding:
    """There is nothing to look at."""
    return Finding(State.SKIPPED, (why,))


def not_seen(fact: Unknown | Skipped) -> Finding:
    """The step cannot be judged, because what it rests on is not there."""
    if isinstance(fact, Skipped):
        return skipped(fact.why)
    return Finding(State.UNKNOWN, (fact.why,), fact.remedy)


class NotSeenError(Exception):
    """A step rests on something that is not there. It ends the look at this step only.

    Attributes:
        finding: What the step is found to be.
    """

    def __init__(self, fact: Unknown | Skipped) -> None:
        super().__init__(fact.why)
        self.finding = not_seen(fact)


def known(fact: Fact[_T]) -> _T:
    """The fact itself.

    Raises:
        NotSeenError: There is none.
    """
    if isinstance(fact, Unknown | Skipped):
        raise NotSeenError(fact)
    return fact
