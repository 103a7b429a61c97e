"""What the core needs of the outside world, as Protocols. The adapters keep them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from target_sync.model import (
    EndpointConnection,
    FailedObservation,
    IPAddress,
    Observation,
    StandbyCheck,
    Target,
    TargetGroup,
)


class Endpoint(Protocol):
    """The database endpoint, however it is observed."""

    def observe(self) -> Observation | FailedObservation:
        """Look once, without any cache of ours. A failure is a value, not an exception."""
        ...


class NameResolver(Protocol):
    """DNS, for an endpoint that has to look several names up."""

    def resolve(self, name: str) -> Observation | FailedObservation:
        """Look a name up once, without any cache of ours."""
        ...


class Standbys(Protocol):
    """Who knows whether an address is still one of the database's own."""

    def check(self, addresses: frozenset[IPAddress]) -> StandbyCheck:
        """Look at these addresses once. A failure is a value, not an exception."""
        ...


class TargetGroupPort(Protocol):
    """One target group of a network load balancer.

    Every method raises ``AwsUnavailableError`` for what may pass (throttling, no
    reply) and another ``AwsCallError`` for what will not. A change whose reply was lost
    may have been made.
    """

    def describe(self) -> TargetGroup:
        """List the targets with their health, draining ones included."""
        ...

    def register(self, targets: Sequence[Target]) -> None:
        """Register targets. Registering a registered one changes nothing."""
        ...

    def deregister(self, targets: Sequence[Target]) -> None:
        """Deregister targets, each by address and port. An absent one changes nothing."""
        ...


class RateLimiter(Protocol):
    """When calls on a target group may go, where they are rationed.

    Each method answers the moments at which to go on, one after the other. After the last of
    them a call may go, and it has been paid for.
    """

    def before_snapshot(self) -> Iterable[float]:
        """Wait until the group may be described."""
        ...

    def before_change(self) -> Iterable[float]:
        """Wait until targets may be registered or deregistered.

        What was paid for and not used is used for the next change.
        """
        ...


class Clock(Protocol):
    """Time as the loop needs it: it only moves forward."""

    def now(self) -> float:
        """Seconds of a monotonic clock."""
        ...

    def sleep_until(self, at: float) -> None:
        """Wait until the clock says so; return at once if it already does."""
        ...


class EndpointServicePort(Protocol):
    """One endpoint service and its connections.

    Every method raises ``AwsUnavailableError`` for what may pass and another
    ``AwsCallError`` for what will not. An answer whose reply was lost may have been given.
    """

    def connections(self) -> tuple[EndpointConnection, ...]:
        """List every connection of the service, whatever its state."""
        ...

    def accept(self, endpoint_id: str) -> None:
        """Accept the request of an endpoint."""
        ...

    def reject(self, endpoint_id: str) -> None:
        """Reject the request of an endpoint."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One record of a function's log, and the metrics that go with it.

    Attributes:
        message: The message, the same text for every run.
        fields: The other fields, JSON-ready.
        counts: The metrics that count something, by name.
        seconds: The metrics in seconds, by name.
    """

    message: str
    fields: Mapping[str, object]
    level: Literal["info", "warning", "error"] = "info"
    counts: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


class Reportable(Protocol):
    """The result of a run."""

    def to_log_records(self) -> Iterable[LogRecord]:
        """Return the records of the run, usually one."""
        ...


_Result_contra = TypeVar("_Result_contra", contravariant=True)


class Reporter(Protocol[_Result_contra]):
    """Writes the result of each run to the log and the metrics."""

    def report(self, result: _Result_contra) -> None:
        """Write the records and the metrics of a run."""
        ...
