"""The IDs of the status checks, and the result of one check."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from target_sync.status.facts import Unavailable, Unknown


class CheckId(StrEnum):
    """The status checks in the order of the report. Each is an anchor in docs/status.md."""

    ENDPOINT_NAME = "endpoint-name"
    DATABASE = "database"
    ALLOWED_ADDRESSES = "allowed-addresses"
    TARGET_HEALTH = "target-health"
    POSTGRESQL = "postgresql"
    DRIFT = "drift"
    TARGET_GROUP = "target-group"
    LISTENER = "listener"
    LOAD_BALANCER = "load-balancer"
    AVAILABILITY_ZONES = "availability-zones"
    LOAD_BALANCER_SECURITY_GROUP = "load-balancer-security-group"
    SWITCH = "switch"
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
    """The state of one element of the connection path."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    #: The function could not read a fact; `details` gives the reason.
    UNKNOWN = "unknown"
    #: The stack does not have this element, or a broken check before leaves nothing to check.
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one check on its own.

    Attributes:
        details: What the check found, a sentence each.
        remedy: What to do about it; empty if there is nothing to do.
        command: The command of the remedy for a shell; empty if the remedy has none.
        possible_causes: Checks that explain this result if they are broken, likeliest first.
    """

    state: CheckState
    details: tuple[str, ...]
    remedy: str = ""
    command: str = ""
    possible_causes: tuple[CheckId, ...] = ()


def ok(*details: str) -> CheckResult:
    """Return the result for an element that works as deployed."""
    return CheckResult(state=CheckState.OK, details=details)


def warning(
    details: Iterable[str],
    remedy: str,
    *,
    command: str = "",
    possible_causes: tuple[CheckId, ...] = (),
) -> CheckResult:
    """Return the result for an element that carries traffic but needs attention."""
    return CheckResult(
        state=CheckState.WARNING,
        details=tuple(details),
        remedy=remedy,
        command=command,
        possible_causes=possible_causes,
    )


def broken(
    details: Iterable[str],
    remedy: str,
    *,
    command: str = "",
    possible_causes: tuple[CheckId, ...] = (),
) -> CheckResult:
    """Return the result for an element that stops traffic, or stops the function's work."""
    return CheckResult(
        state=CheckState.BROKEN,
        details=tuple(details),
        remedy=remedy,
        command=command,
        possible_causes=possible_causes,
    )


def skipped(reason: str) -> CheckResult:
    """Return the result for an element that the check cannot or need not check."""
    return CheckResult(state=CheckState.SKIPPED, details=(reason,))


def unavailable(fact: Unavailable) -> CheckResult:
    """Return the result for an element without the fact that its check needs."""
    if isinstance(fact, Unknown):
        return CheckResult(state=CheckState.UNKNOWN, details=(fact.reason,), remedy=fact.remedy)
    return skipped(fact.reason)
