"""The words of the job as values: targets, a target group, what an endpoint answered.

Times are seconds of one monotonic clock; only differences between them mean anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network

HIGHEST_PORT = 65535


class DatabaseKind(StrEnum):
    """How a database is found and followed."""

    RDS_INSTANCE = "rds-instance"
    #: The writer endpoint of an Aurora or Multi-AZ DB cluster.
    RDS_CLUSTER_WRITER = "rds-cluster-writer"
    #: Its reader endpoint: every member that is not the writer.
    RDS_CLUSTER_READERS = "rds-cluster-readers"
    RDS_PROXY = "rds-proxy"
    #: Any other name in DNS.
    HOSTNAME = "hostname"
    #: Addresses that a person gave.
    STATIC = "static"
    EC2_INSTANCE = "ec2-instance"
    #: AWS itself registers the instances of an Auto Scaling group; nothing is left to sync.
    EC2_ASG = "ec2-asg"

    @property
    def is_cluster(self) -> bool:
        """Whether the RDS API has to say who the members are."""
        return self in {DatabaseKind.RDS_CLUSTER_WRITER, DatabaseKind.RDS_CLUSTER_READERS}


@dataclass(frozen=True, slots=True)
class Target:
    """An address and a port: the whole identity of a target.

    The same address on another port is another target, and a deregistration has to name
    the port (ELBv2 API reference, DeregisterTargets).
    """

    address: IPAddress
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if isinstance(self.address, IPv6Address) else str(self.address)
        return f"{host}:{self.port}"


def in_order(targets: Iterable[Target]) -> tuple[Target, ...]:
    """The targets in one stable order, so that logs and calls never depend on hashing."""
    return tuple(sorted(targets, key=lambda t: (t.address.version, int(t.address), t.port)))


class TargetState(StrEnum):
    """The states that DescribeTargetHealth reports (ELBv2 API reference, TargetHealth)."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    #: Failing its checks with connections left open for a grace period. Still registered.
    UNHEALTHY_DRAINING = "unhealthy.draining"
    UNUSED = "unused"
    #: Deregistered, on its way out. Not registered any more.
    DRAINING = "draining"
    UNAVAILABLE = "unavailable"
    #: A state that this version does not know: registered, but nothing to rely on.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """One line of DescribeTargetHealth: a target, its state, and AWS's reason code for it."""

    target: Target
    state: TargetState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """What DescribeTargetHealth listed at one moment, draining targets included."""

    targets: tuple[TargetHealth, ...]

    @property
    def registered(self) -> frozenset[Target]:
        """The targets that are in the group; draining ones have left it."""
        return frozenset(t.target for t in self.targets if t.state is not TargetState.DRAINING)

    @property
    def draining(self) -> frozenset[Target]:
        """The targets that were deregistered and are still listed."""
        return frozenset(t.target for t in self.targets if t.state is TargetState.DRAINING)

    @property
    def healthy(self) -> frozenset[Target]:
        """The targets that pass their health checks."""
        return frozenset(t.target for t in self.targets if t.state is TargetState.HEALTHY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the database endpoint said: its addresses, where they came from, when.

    Attributes:
        name: The name that was looked up.
        addresses: Every address of the answer.
        source: Who said so, for example ``dns``.
        ttl: Seconds for which a cache may go on giving this answer; None if not known.
        at: When the answer arrived.
        second: What a second, independent source said; None if there is none, or it could not
            say. It confirms an answer and announces the next one, but never outvotes it.
        disagreement: A sentence on what the second source said instead, or why it said nothing.
            Empty if there is no second source or it agreed.
    """

    name: str
    addresses: frozenset[IPAddress]
    source: str
    ttl: int | None
    at: float
    second: frozenset[IPAddress] | None = None
    disagreement: str = ""

    @property
    def corroborated(self) -> bool:
        """Whether the second source gave the same addresses."""
        return self.second == self.addresses

    @property
    def contested(self) -> frozenset[IPAddress]:
        """The addresses that only the second source gave."""
        return frozenset() if self.second is None else self.second - self.addresses

    def says_the_same(self, other: "Observation") -> bool:
        """Whether both sources gave the same addresses in the other one."""
        return (self.addresses, self.second) == (other.addresses, other.second)


class LookupFailure(StrEnum):
    """Why a look gave no addresses. Told apart, because each has another remedy."""

    NAME_DOES_NOT_EXIST = "name_does_not_exist"
    NO_ADDRESS = "no_address"
    TIMED_OUT = "timed_out"
    SERVERS_FAILED = "servers_failed"
    BAD_ANSWER = "bad_answer"
    #: An AWS API that knows the database's servers was throttled, unreachable or out of order.
    API_UNAVAILABLE = "api_unavailable"
    #: The role may not ask that API. It does not pass by itself.
    ACCESS_DENIED = "access_denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedObservation:
    """A look at the endpoint that brought no addresses. It never changes the group.

    Attributes:
        name: The name that was looked up.
        failure: What kind of failure it was.
        detail: A sentence for a person.
        at: When the failure was known.
    """

    name: str
    failure: LookupFailure
    detail: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyCheck:
    """Which addresses outside the answer may still be those of the database's standby.

    Attributes:
        confirmed: Those that belong to a network interface of RDS in the database's VPC and
            security groups.
        failure: Why that could not be found out; empty if it could. Then nothing is confirmed,
            and nothing is removed for lack of it.
    """

    confirmed: frozenset[IPAddress] = frozenset()
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPolicy:
    """What a target group may become.

    Attributes:
        port: The database's port; every right target has it.
        allowed_networks: An address outside all of them is never registered.
        max_targets: An answer with more addresses than this is refused.
        keep_standby: Whether the former primary of an RDS instance stays registered, so that the
            load balancer itself can switch back to it (ADR 0014).
        confirm_seconds: Least time for which an address must be gone (or back) in every
            observation before that counts. The record's TTL makes it longer.
    """

    port: int
    allowed_networks: tuple[IPNetwork, ...]
    max_targets: int = 15
    serving_standby: bool = False
    confirm_seconds: float = 6.0

    @property
    def families(self) -> frozenset[int]:
        """The IP versions of the allowed networks. A target group has one of them."""
        return frozenset(network.version for network in self.allowed_networks)

    def allows(self, address: IPAddress) -> bool:
        """Whether the address may be registered at all.

        Loopback, link-local, multicast and unspecified addresses may not, whatever the
        networks say: none of them is a database that a load balancer can reach.
        """
        if (
            address.is_loopback
            or address.is_link_local
            or address.is_multicast
            or address.is_unspecified
        ):
            return False
        return any(address in network for network in self.allowed_networks)


#: The private networks that a Network Load Balancer takes targets from (NLB user guide,
#: "Register targets").
TARGET_NETWORKS: tuple[IPNetwork, ...] = tuple(
    IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)


@dataclass(frozen=True, slots=True)
class AwsScope:
    """An account in a Region, and so what is a deployment's own."""

    partition: str
    region: str
    account: str

    def __str__(self) -> str:
        return f"{self.region} of account {self.account}"


def scope_of_function(function_arn: str) -> AwsScope:
    """Where a function is: ``arn:partition:lambda:region:account:function:name``."""
    _, partition, _, region, account, *_ = function_arn.split(":")
    return AwsScope(partition, region, account)


class ConnectionState(StrEnum):
    """The states of an endpoint connection (EC2 API reference, VpcEndpointConnection)."""

    PENDING_ACCEPTANCE = "pendingAcceptance"
    PENDING = "pending"
    AVAILABLE = "available"
    DELETING = "deleting"
    DELETED = "deleted"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"
    PARTIAL = "partial"
    #: A state that this version does not know: nothing is answered.
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, text: str) -> "ConnectionState":
        """The state that AWS means: its model and its replies differ in case."""
        return _STATES.get(text.lower(), cls.UNKNOWN)


_STATES = {state.lower(): state for state in ConnectionState}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConnection:
    """One line of DescribeVpcEndpointConnections.

    Attributes:
        endpoint_id: The consumer's endpoint, ``vpce-…``.
        owner: The account that owns the endpoint, as EC2 says it.
        state: Where the connection stands.
        created_at: When the endpoint was made, in seconds since the epoch; None if not said. It
            does not make another connection of it.
    """

    endpoint_id: str
    owner: str
    state: ConnectionState
    created_at: float | None = field(default=None, compare=False)

    @property
    def is_request(self) -> bool:
        """Whether the consumer waits for an answer."""
        return self.state is ConnectionState.PENDING_ACCEPTANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointService:
    """An endpoint service."""

    state: str
    acceptance_required: bool
    load_balancer_arns: tuple[str, ...]


def desired_targets(observation: Observation, policy: SyncPolicy) -> frozenset[Target]:
    """The targets that the observation asks for, allowed or not."""
    return targets_at(observation.addresses, policy)


def undesired_targets(
    group: TargetGroup, observation: Observation, policy: SyncPolicy
) -> frozenset[Target]:
    """The registered targets of ours that are not in the answer."""
    ours = {t for t in group.registered if t.address.version in policy.families}
    return frozenset(ours - desired_targets(observation, policy))


def targets_at(addresses: Iterable[IPAddress], policy: SyncPolicy) -> frozenset[Target]:
    """The targets at these addresses, without those of a family that the policy does not have."""
    return frozenset(Target(a, policy.port) for a in addresses if a.version in policy.families)


class RunStatus(StrEnum):
    """How a run ended."""

    IN_SYNC = "in_sync"
    #: Changed by this run, and right; healthy too if the run was to wait for that.
    SYNCED = "synced"
    #: The group is right, but its targets had not become healthy in good time.
    UNHEALTHY = "unhealthy"
    #: Something is left to do that this run had no time to confirm or to apply, the sources still
    #: disagree, or something could not be found out.
    UNFINISHED = "unfinished"
    #: A guard refused a phase of the plan.
    VETOED = "vetoed"
    DRY_RUN = "dry_run"
    #: The last look or change failed. The caller raises; nothing is reported as done.
    FAILED = "failed"
