"""What the status report needs of AWS and of PostgreSQL, as Protocols.

Every method raises an ``AwsCallError`` if its call fails, unless it says otherwise. It returns None
for a resource that does not exist.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from target_sync.model import EndpointConnection, EndpointService
from target_sync.status.facts import (
    Database,
    DescribedTarget,
    FollowedChanges,
    FunctionNetwork,
    GroupDetails,
    Listener,
    LoadBalancer,
    RecentRuns,
    SecurityGroup,
    SslReply,
    SubnetNetwork,
)


class DatabasePort(Protocol):
    """The API that describes the database."""

    def database(self) -> Database | None:
        """Return the database as it is now."""


class LoadBalancersPort(Protocol):
    """The API of target groups and load balancers."""

    def targets(self, group_arn: str) -> tuple[DescribedTarget, ...] | None:
        """Return every target of a group, including draining ones."""

    def group(self, arn: str) -> GroupDetails | None:
        """Return a target group."""

    def group_attributes(self, arn: str) -> Mapping[str, str] | None:
        """Return the attributes of a target group."""

    def load_balancer(self, arn: str) -> LoadBalancer | None:
        """Return a load balancer."""

    def load_balancer_attributes(self, arn: str) -> Mapping[str, str] | None:
        """Return the attributes of a load balancer."""

    def listeners(self, balancer_arn: str) -> tuple[Listener, ...] | None:
        """Return the listeners of a load balancer."""

    def listener_attributes(self, arn: str) -> Mapping[str, str] | None:
        """Return the attributes of a listener."""


class NetworksPort(Protocol):
    """The API of VPCs and security groups."""

    def subnets(self, vpc_id: str) -> tuple[SubnetNetwork, ...]:
        """Return the subnets of a VPC."""

    def security_groups(self, ids: Iterable[str]) -> Mapping[str, SecurityGroup]:
        """Return the security groups that exist, by ID."""

    def of_function(self, subnet_ids: Sequence[str]) -> FunctionNetwork:
        """Return how a function in these subnets reaches AWS."""


class ServicePort(Protocol):
    """One endpoint service."""

    def service(self) -> EndpointService | None:
        """Return the service itself."""

    def principals(self) -> frozenset[str] | None:
        """Return the ARNs that may connect."""

    def connections(self) -> tuple[EndpointConnection, ...]:
        """Return every connection of the service in every state."""


class MetricsPort(Protocol):
    """The metrics of the sync function."""

    def recent_runs(self) -> RecentRuns:
        """Return the newest runs."""

    def changes(self) -> FollowedChanges:
        """Return the newest change that the function followed."""


class SchedulePort(Protocol):
    """One schedule."""

    def is_enabled(self) -> bool | None:
        """Return whether the schedule is on."""


class QueuesPort(Protocol):
    """The API of queues."""

    def messages(self, url: str) -> int | None:
        """Return the number of messages in a queue."""


class ScalingPort(Protocol):
    """The API of Auto Scaling groups."""

    def attached_target_groups(self, group: str) -> frozenset[str] | None:
        """Return the ARNs of the target groups of an Auto Scaling group."""


class ProbePort(Protocol):
    """A connection to a server."""

    def ask(self, target: DescribedTarget) -> SslReply:
        """Return the server's reply to an SSLRequest. A failure is a value, not an exception."""
