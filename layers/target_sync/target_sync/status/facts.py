"""What can be seen of the road, as values. Nothing here judges.

Moments are seconds since the epoch: they come from AWS, whose clock is nobody's monotonic one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, TypeVar

from target_sync.model import (
    DatabaseKind,
    EndpointConnection,
    EndpointService,
    FailedObservation,
    IPAddress,
    IPNetwork,
    Observation,
    StandbyCheck,
    SyncPolicy,
    TargetState,
)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that could not be found out.

    Attributes:
        why: A sentence: a permission is missing, the API is throttled, it took too long.
        remedy: What to do about that.
    """

    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that there is no reason, or no way, to look at."""

    why: str


_T = TypeVar("_T")
#: A fact, or why there is none.
Fact: TypeAlias = _T | Unknown | Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedTarget:
    """One line of DescribeTargetHealth, whatever the type of the group.

    Attributes:
        id: An address, or the ID of an instance.
        port: The target's port.
        state: Its health.
        reason: AWS's code for the state; may be empty.
    """

    id: str
    port: int
    state: TargetState
    reason: str = ""

    @property
    def is_registered(self) -> bool:
        """Whether it is in the group; a draining one has left it."""
        return self.state is not TargetState.DRAINING

    def __str__(self) -> str:
        return f"{self.id}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDetails:
    """A target group apart from its targets. Health check intervals are seconds.

    Attributes:
        load_balancer_arns: The load balancers whose listeners forward to it.
    """

    target_type: str
    protocol: str
    health_check_protocol: str
    health_check_port: str
    health_check_interval: int
    unhealthy_threshold: int
    load_balancer_arns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A listener and the target groups that it forwards to."""

    arn: str
    protocol: str
    port: int
    target_group_arns: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancer:
    """A Network Load Balancer.

    Attributes:
        state: `active`, `provisioning`, `active_impaired` or `failed`.
        zones: Its subnet in each Availability Zone that is enabled.
        security_groups: Their IDs; empty if it was made without.
        enforces: Whether the groups' inbound rules hold for PrivateLink traffic too.
    """

    arn: str
    state: str
    vpc_id: str
    zones: Mapping[str, str]
    security_groups: tuple[str, ...] = ()
    enforces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of a security group.

    Attributes:
        first_port: The lowest port, and `last_port` the highest; every port if both are None.
        networks: The CIDR blocks on the other side.
        groups: The security groups on the other side.
        prefix_lists: The prefix lists on the other side, which are not looked into.
    """

    protocol: str
    first_port: int | None
    last_port: int | None
    networks: tuple[IPNetwork, ...] = ()
    groups: tuple[str, ...] = ()
    prefix_lists: tuple[str, ...] = ()

    def covers(self, port: int) -> bool:
        """Whether it is about TCP on this port."""
        if self.protocol == "-1":
            return True
        if self.protocol not in {"tcp", "6"}:
            return False
        if self.first_port is None or self.last_port is None:
            return True
        return self.first_port <= port <= self.last_port


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """A security group's rules."""

    inbound: tuple[Rule, ...]
    outbound: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class SubnetNetwork:
    """A subnet's place."""

    network: IPNetwork
    zone: str


@dataclass(frozen=True, slots=True)
class SubnetRoute:
    """How a subnet reaches AWS.

    Attributes:
        subnet_id: The subnet.
        by_default_route: Where its default route leads, for example a NAT gateway; empty if it
            has none. An internet gateway is no way out for a function, which has no public address.
    """

    subnet_id: str
    by_default_route: str


@dataclass(frozen=True, slots=True)
class FunctionNetwork:
    """What a function inside a VPC can leave it by.

    Attributes:
        ways: The way of each of its subnets.
        services: The services that have an interface endpoint with private DNS in the VPC,
            by their names there, for example `elasticloadbalancing`.
    """

    ways: tuple[SubnetRoute, ...]
    services: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentRuns:
    """What the function's own metrics say of its newest runs.

    Attributes:
        succeeded_at: When a run last succeeded; None if none did within `seconds`.
        failures: How many runs failed within that time.
        vetoes: How many were vetoed.
        deregistrations: How many targets were deregistered.
        seconds: How far back was looked.
    """

    succeeded_at: float | None
    failures: int
    vetoes: int
    deregistrations: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedChange:
    """The newest change that the function followed; seconds from its trigger.

    Attributes:
        at: When its run ended, to the minute.
    """

    at: float
    to_detect: float | None = None
    to_register: float | None = None
    to_healthy: float | None = None


@dataclass(frozen=True, slots=True)
class FollowedChanges:
    """What the metrics say of changes.

    Attributes:
        last: The newest; None if there was none within `days`.
    """

    last: FollowedChange | None
    days: int


class SslReply(StrEnum):
    """What a server answers to an SSLRequest (PostgreSQL, *Message Formats*)."""

    #: It takes TLS.
    TLS = "S"
    #: It is PostgreSQL, and takes no TLS.
    PLAIN = "N"
    #: It accepted the connection, and answers as PostgreSQL does not.
    OTHER = "other"
    #: No connection from here. The load balancer may have one all the same.
    NO_CONNECTION = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What the stack was told: what the facts are held against.

    Attributes:
        stack: The stack's name.
        kind: How the database is followed.
        policy: Port, allowed networks, and whether the standby's target stays.
        target_group_arn: The group that is kept right.
        service_id: The endpoint service; empty without an own network.
        owns_network: Whether load balancer and endpoint service are the stack's own.
        enforces: `EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic`.
        consumer_network: `ConsumerNetwork`; None without an own network.
        idle_timeout: `IdleTimeoutSeconds`; None where it is AWS's own.
        database_security_groups: Those of the database, as far as AWS knows them.
        manages_ingress: Whether the stack opens the database's security group.
        acceptance_required: `AcceptanceRequired`.
        principals: Those that may connect.
        trusted_accounts: Those that are accepted without a person.
        apis: What the sync function calls, by the names of interface endpoints.
    """

    stack: str
    kind: DatabaseKind
    policy: SyncPolicy
    target_group_arn: str
    service_id: str = ""
    owns_network: bool = True
    enforces: bool = False
    consumer_network: IPNetwork | None = None
    idle_timeout: int | None = None
    database_security_groups: tuple[str, ...] = ()
    manages_ingress: bool = False
    acceptance_required: bool = False
    principals: frozenset[str] = frozenset()
    trusted_accounts: frozenset[str] = frozenset()
    apis: tuple[str, ...] = ("elasticloadbalancing",)

    @property
    def syncs(self) -> bool:
        """Whether there is a sync function; an Auto Scaling group registers its own instances."""
        return self.kind is not DatabaseKind.EC2_ASG


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that was seen at one moment. `None` in a fact: AWS says that it does not exist.

    Attributes:
        now: The moment.
        observation: What the endpoint answers.
        attached: Whether the Auto Scaling group is attached to the target group.
        targets: The targets with their health.
        standbys: Whose the addresses outside the answer are.
        probes: What each target answers to an SSLRequest.
        group: The target group.
        group_attributes: Its attributes.
        listeners: The load balancer's listeners.
        listener_attributes: Those of the listener that forwards to the group.
        load_balancer: The load balancer.
        load_balancer_attributes: Its attributes.
        subnets: The subnets of its VPC.
        security_groups: Its own and the database's, by ID; one that is missing is left out.
        service: The endpoint service.
        principals: Those that may connect.
        connections: The endpoint connections.
        function_network: The way of a function in a VPC to AWS.
        recent_runs: What the metrics say of the newest runs.
        changes: What they say of changes.
        schedule_enabled: Whether the schedule is switched on.
        failed_runs: How many messages wait in the queue of failed runs.
        undelivered_events: How many wait in the queue of undelivered events.
    """

    now: float
    observation: Fact[Observation | FailedObservation]
    attached: Fact[bool | None]
    targets: Fact[tuple[DescribedTarget, ...] | None]
    standbys: Fact[StandbyCheck]
    probes: Fact[Mapping[str, SslReply]]
    group: Fact[GroupDetails | None]
    group_attributes: Fact[Mapping[str, str] | None]
    listeners: Fact[tuple[Listener, ...] | None]
    listener_attributes: Fact[Mapping[str, str] | None]
    load_balancer: Fact[LoadBalancer | None]
    load_balancer_attributes: Fact[Mapping[str, str] | None]
    subnets: Fact[tuple[SubnetNetwork, ...]]
    security_groups: Fact[Mapping[str, SecurityGroup]]
    service: Fact[EndpointService | None]
    principals: Fact[frozenset[str] | None]
    connections: Fact[tuple[EndpointConnection, ...]]
    function_network: Fact[FunctionNetwork]
    recent_runs: Fact[RecentRuns]
    changes: Fact[FollowedChanges]
    schedule_enabled: Fact[bool | None]
    failed_runs: Fact[int | None]
    undelivered_events: Fact[int | None]


def zone_of(address: IPAddress, subnets: tuple[SubnetNetwork, ...]) -> str:
    """The Availability Zone of an address; empty if it is in none of the subnets."""
    return next((subnet.zone for subnet in subnets if address in subnet.network), "")
