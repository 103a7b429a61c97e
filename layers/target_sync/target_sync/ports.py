"""The protocols that adapters implement for more than one feature, and the log record."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from target_sync.model import (
    CandidateList,
    EndpointConnection,
    FailedObservation,
    IPAddress,
    Observation,
    OutboundRules,
    StandbyCheck,
    SwitchState,
    Target,
    TargetGroup,
)


class Endpoint(Protocol):
    """The database endpoint."""

    def observe(self) -> Observation | FailedObservation:
        """Observe once, without a cache of our own. A failure is returned, not raised."""


class NameResolver(Protocol):
    """DNS, for endpoints that look up names."""

    def resolve(self, name: str) -> Observation | FailedObservation:
        """Look up a name once, without a cache of our own. A failure is returned, not raised."""


class Standbys(Protocol):
    """Recognizes the addresses of the database's standby."""

    def check(self, addresses: frozenset[IPAddress]) -> StandbyCheck:
        """Check these addresses once. A failure is returned, not raised."""


class Candidates(Protocol):
    """Lists the addresses that the database may move to."""

    def addresses(self, serving: frozenset[IPAddress]) -> CandidateList:
        """List them without the serving ones. A failure is returned, not raised."""


class TargetGroupPort(Protocol):
    """One target group of a network load balancer.

    Every method raises an ``AwsCallError``, which is an ``AwsUnavailableError`` if a retry can
    help. AWS may have made a change although its reply was lost.
    """

    def describe(self) -> TargetGroup:
        """Return the targets with their health, including the draining ones."""

    def register(self, targets: Sequence[Target]) -> None:
        """Register targets. A registered target stays as it is."""

    def deregister(self, targets: Sequence[Target]) -> None:
        """Deregister targets, each by address and port. A target that is absent is no error."""


class OutboundRulesPort(Protocol):
    """The rules that let a load balancer reach targets, one rule for each target.

    Every method raises an ``AwsCallError``, as those of ``TargetGroupPort`` do.
    """

    def describe(self) -> OutboundRules:
        """Return the open targets, and the state of the switch."""

    def open(self, targets: Sequence[Target]) -> None:
        """Let the load balancer reach targets. An open target stays as it is."""

    def close(self, targets: Sequence[Target]) -> None:
        """Cut targets off from the load balancer. A closed target is no error."""

    def mark(self, state: SwitchState) -> None:
        """Keep the state of the switch with the rules."""


class RateLimiter(Protocol):
    """Limits the rate of the calls on target groups.

    Each method yields the times at which the caller continues. After the last of them the caller
    may make one call, which is counted.
    """

    def before_snapshot(self) -> Iterable[float]:
        """Wait until the caller may describe the group."""

    def before_change(self) -> Iterable[float]:
        """Wait until the caller may register or deregister targets.

        A call that was counted and not made is kept for the next change.
        """


class Clock(Protocol):
    """A monotonic clock."""

    def now(self) -> float:
        """Return seconds since an arbitrary time."""

    def sleep_until(self, at: float) -> None:
        """Wait until this time. Return at once if it is in the past."""


class EndpointServicePort(Protocol):
    """One endpoint service and its connections.

    Every method raises an ``AwsCallError``, which is an ``AwsUnavailableError`` if a retry can
    help. AWS may have accepted or rejected a request although its reply was lost.
    """

    def connections(self) -> tuple[EndpointConnection, ...]:
        """Return all connections of the service, in any state."""

    def accept(self, endpoint_id: str) -> None:
        """Accept the request of an endpoint."""

    def reject(self, endpoint_id: str) -> None:
        """Reject the request of an endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One record of a function's log, and the metrics that go with it.

    Attributes:
        message: The same text for every run.
        fields: The other fields, JSON-ready.
        counts: The metrics that count something, by name.
        seconds: The metrics in seconds, by name.
        error: An exception, whose traceback is logged.
    """

    message: str
    fields: Mapping[str, object]
    level: Literal["info", "warning", "error"] = "info"
    counts: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: BaseException | None = None


class Reportable(Protocol):
    """The result of a run."""

    def to_log_records(self) -> Iterable[LogRecord]:
        """Return the records of the run, usually one."""


_Result_contra = TypeVar("_Result_contra", contravariant=True)


class Reporter(Protocol[_Result_contra]):
    """Writes the result of each run to the log and the metrics."""

    def report(self, result: _Result_contra) -> None:
        """Write the records and the metrics of a run."""
