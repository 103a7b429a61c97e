"""The steps of the road, and what one of them was found to be."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from target_sync.status.facts import Fact, Skipped, Unknown

_T = TypeVar("_T")


class CheckId(StrEnum):
    """The steps, in the order in which they are walked. Each is an anchor in docs/status.md."""

    ENDPOINT_NAME = "endpoint-name"
    ALLOWED_ADDRESSES = "allowed-addresses"
    TARGET_HEALTH = "target-health"
    POSTGRESQL = "postgresql"
    DRIFT = "drift"
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


class CheckState(StrEnum):
    """What a step was found to be."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    #: It could not be looked at; `seen` says why.
    UNKNOWN = "unknown"
    #: There is nothing to look at here, or a broken step before it leaves nothing to look at.
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one step was found to be, looked at alone.

    Attributes:
        state: The verdict.
        seen: What was seen, a sentence each.
        remedy: What to do about it, in one sentence; empty if there is nothing to do.
        may_follow_from: Steps that would explain this finding if they are broken, likeliest first.
    """

    state: CheckState
    seen: tuple[str, ...]
    remedy: str = ""
    possible_causes: tuple[CheckId, ...] = ()


def ok(*seen: str) -> CheckResult:
    """The step is as it should be."""
    return CheckResult(CheckState.OK, seen)


def warning(
    seen: Iterable[str], remedy: str, *, possible_causes: tuple[CheckId, ...] = ()
) -> CheckResult:
    """The step carries traffic, but something about it wants attention."""
    return CheckResult(CheckState.WARNING, tuple(seen), remedy, possible_causes)


def broken(
    seen: Iterable[str], remedy: str, *, possible_causes: tuple[CheckId, ...] = ()
) -> CheckResult:
    """The step does not do what the road needs."""
    return CheckResult(CheckState.BROKEN, tuple(seen), remedy, possible_causes)


def skipped(why: str) -> CheckResult:
    """There is nothing to look at."""
    return CheckResult(CheckState.SKIPPED, (why,))


def missing(fact: Unknown | Skipped) -> CheckResult:
    """The step cannot be judged, because what it rests on is not there."""
    if isinstance(fact, Skipped):
        return skipped(fact.why)
    return CheckResult(CheckState.UNKNOWN, (fact.why,), fact.remedy)


class FactMissingError(Exception):
    """A step rests on something that is not there. It ends the look at this step only.

    Attributes:
        finding: What the step is found to be.
    """

    def __init__(self, fact: Unknown | Skipped) -> None:
        super().__init__(fact.why)
        self.finding = missing(fact)


def known(fact: Fact[_T]) -> _T:
    """The fact itself.

    Raises:
        NotSeenError: There is none.
    """
    if isinstance(fact, Unknown | Skipped):
        raise FactMissingError(fact)
    return fact
