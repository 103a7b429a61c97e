"""What the diagnosis needs of the outside world, as Protocols. The adapters keep them.

Every method raises an ``AwsCallError`` if it cannot say. What AWS does not know is None.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from target_sync.model import EndpointConnection, EndpointService
from target_sync.status.facts import (
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


class LoadBalancersPort(Protocol):
    """The API of target groups and load balancers."""

    def targets(self, group_arn: str) -> tuple[DescribedTarget, ...] | None:
        """Every target of a group, draining ones included."""
        ...

    def group(self, arn: str) -> GroupDetails | None:
        """A target group."""
        ...

    def group_attributes(self, arn: str) -> Mapping[str, str] | None:
        """The attributes of a target group."""
        ...

    def load_balancer(self, arn: str) -> LoadBalancer | None:
        """A load balancer."""
        ...

    def load_balancer_attributes(self, arn: str) -> Mapping[str, str] | None:
        """The attributes of a load balancer."""
        ...

    def listeners(self, balancer_arn: str) -> tuple[Listener, ...] | None:
        """The listeners of a load balancer."""
        ...

    def listener_attributes(self, arn: str) -> Mapping[str, str] | None:
        """The attributes of a listener."""
        ...


class SecurityGroupsPort(Protocol):
    """The API of security groups."""

    def rules(self, ids: Iterable[str]) -> Mapping[str, SecurityGroup]:
        """These security groups by ID; one that does not exist is left out."""
        ...


class NetworksPort(Protocol):
    """The API of VPCs."""

    def subnets(self, vpc_id: str) -> tuple[SubnetNetwork, ...]:
        """The subnets of a VPC."""
        ...

    def of_function(self, subnet_ids: Sequence[str]) -> FunctionNetwork:
        """What leads from these subnets to AWS."""
        ...


class ServicePort(Protocol):
    """One endpoint service."""

    def service(self) -> EndpointService | None:
        """The service itself."""
        ...

    def principals(self) -> frozenset[str] | None:
        """Those that may connect."""
        ...

    def connections(self) -> tuple[EndpointConnection, ...]:
        """Every connection of the service, whatever its state."""
        ...


class MetricsPort(Protocol):
    """The sync function's own metrics."""

    def recent_runs(self) -> RecentRuns:
        """The newest runs."""
        ...

    def changes(self) -> FollowedChanges:
        """The newest change that was followed."""
        ...


class SchedulePort(Protocol):
    """One schedule."""

    def is_enabled(self) -> bool | None:
        """Whether it is switched on."""
        ...


class QueuesPort(Protocol):
    """The API of queues."""

    def messages(self, url: str) -> int | None:
        """How many messages a queue has."""
        ...


class ScalingPort(Protocol):
    """The API of Auto Scaling groups."""

    def attached_target_groups(self, group: str) -> frozenset[str] | None:
        """ARNs of the target groups of an Auto Scaling group."""
        ...


class ProbePort(Protocol):
    """A connection to a server. A failure is a value."""

    def ask(self, target: DescribedTarget) -> SslReply:
        """What a server answers when it is asked for TLS."""
        ...
