"""Values that all features share: targets, target groups, observations, connections.

Times are seconds of one monotonic clock, so only their differences have a meaning.
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
    """The kind of a database, which decides how it is observed."""

    RDS_INSTANCE = "rds-instance"
    #: The writer endpoint of an Aurora or Multi-AZ DB cluster.
    RDS_CLUSTER_WRITER = "rds-cluster-writer"
    #: The reader endpoint of such a cluster: every member except the writer.
    RDS_CLUSTER_READERS = "rds-cluster-readers"
    RDS_PROXY = "rds-proxy"
    #: Any other DNS name.
    HOSTNAME = "hostname"
    #: Addresses given as a parameter.
    STATIC = "static"
    EC2_INSTANCE = "ec2-instance"
    #: AWS registers the instances of an Auto Scaling group, so there is nothing to reconcile.
    EC2_ASG = "ec2-asg"

    @property
    def is_cluster(self) -> bool:
        """Whether the RDS API must list the members."""
        return self in {DatabaseKind.RDS_CLUSTER_WRITER, DatabaseKind.RDS_CLUSTER_READERS}

    @property
    def uses_dns(self) -> bool:
        """Whether DNS gives the addresses, so that they may change at any moment."""
        return self not in {DatabaseKind.STATIC, DatabaseKind.EC2_INSTANCE, DatabaseKind.EC2_ASG}


@dataclass(frozen=True, slots=True)
class Target:
    """An address and a port, which together identify a target.

    The same address with another port is another target, and a deregistration must name the
    port (ELBv2 API reference, DeregisterTargets).
    """

    address: IPAddress
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if isinstance(self.address, IPv6Address) else str(self.address)
        return f"{host}:{self.port}"


def in_order(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Return the targets in a stable order, so that logs and calls do not depend on hashing."""
    return tuple(sorted(targets, key=lambda t: (t.address.version, int(t.address), t.port)))


class TargetState(StrEnum):
    """The states that DescribeTargetHealth reports (ELBv2 API reference, TargetHealth)."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    #: It fails its checks, and open connections have a grace period. It is still registered.
    UNHEALTHY_DRAINING = "unhealthy.draining"
    UNUSED = "unused"
    #: It was deregistered. It is still listed, but is no longer registered.
    DRAINING = "draining"
    UNAVAILABLE = "unavailable"
    #: A state that this version does not know. It counts as registered, but not as healthy.
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, text: str) -> "TargetState":
        """Return the state for AWS's text."""
        return _TARGET_STATES.get(text, cls.UNKNOWN)


_TARGET_STATES = {state.value: state for state in TargetState}


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """One target of DescribeTargetHealth, with its state and AWS's reason code."""

    target: Target
    state: TargetState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """The targets that DescribeTargetHealth listed, including the draining ones."""

    targets: tuple[TargetHealth, ...]

    @property
    def registered(self) -> frozenset[Target]:
        """The registered targets. A draining target is not registered."""
        return frozenset(t.target for t in self.targets if t.state is not TargetState.DRAINING)

    @property
    def draining(self) -> frozenset[Target]:
        """The targets that were deregistered and are still listed."""
        return frozenset(t.target for t in self.targets if t.state is TargetState.DRAINING)

    @property
    def healthy(self) -> frozenset[Target]:
        """The targets that pass their health checks."""
        return frozenset(t.target for t in self.targets if t.state is TargetState.HEALTHY)


#: A longer TTL counts as this one, so that a run always has time to confirm a change. A cache that
#: keeps a record for longer may give an old address even then (docs/failover.md).
LONGEST_TTL_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Alias:
    """A CNAME record: a name, the name that it refers to, and its TTL in seconds."""

    name: str
    target: str
    ttl: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The addresses of the database endpoint at one moment.

    Attributes:
        source: The source of the addresses, for example ``dns``.
        ttl: Seconds for which a cache may keep the address records; None if unknown.
        aliases: The CNAME records between the name and the addresses.
        at: When the addresses arrived.
        second: The addresses of a second, independent source; None if there is none or it has
            no addresses. They confirm an observation or announce the next one. They never
            replace it.
        disagreement: A sentence that says how the second source differs, or why it has no
            addresses. Empty if there is no second source or both are equal.
    """

    name: str
    addresses: frozenset[IPAddress]
    source: str
    ttl: int | None
    at: float
    aliases: tuple[Alias, ...] = ()
    second: frozenset[IPAddress] | None = None
    disagreement: str = ""

    @property
    def longest_ttl(self) -> int:
        """The longest TTL of all records, in seconds; 0 if none is known."""
        return max(self.ttl or 0, *(alias.ttl for alias in self.aliases), 0)

    @property
    def corroborated(self) -> bool:
        """Whether the second source gave the same addresses."""
        return self.second == self.addresses

    @property
    def contested(self) -> frozenset[IPAddress]:
        """The addresses that only the second source gave."""
        return frozenset() if self.second is None else self.second - self.addresses

    @property
    def canonical_name(self) -> str:
        """The name that has the addresses: the one at the end of the aliases, or the name."""
        return self.aliases[-1].target if self.aliases else self.name

    def says_the_same(self, other: "Observation") -> bool:
        """Whether the other observation has the same addresses from both sources."""
        return (self.addresses, self.second) == (other.addresses, other.second)


class LookupFailure(StrEnum):
    """Why an observation failed. Each reason has another remedy."""

    NAME_DOES_NOT_EXIST = "name_does_not_exist"
    NO_ADDRESS = "no_address"
    TIMED_OUT = "timed_out"
    SERVERS_FAILED = "servers_failed"
    BAD_ANSWER = "bad_answer"
    #: The AWS API that lists the database's servers was throttled, unreachable or failed.
    API_UNAVAILABLE = "api_unavailable"
    #: The role lacks a permission for that API. A retry does not help.
    ACCESS_DENIED = "access_denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedObservation:
    """A failed observation, with a sentence for people. It never changes the target group."""

    name: str
    failure: LookupFailure
    detail: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyCheck:
    """Which undesired addresses may belong to the database's standby.

    Attributes:
        confirmed: The addresses of RDS's network interfaces in the database's VPC and security
            groups.
        failure: Why the check failed; empty if it succeeded. After a failure no address is
            confirmed, and no target is removed because of that.
    """

    confirmed: frozenset[IPAddress] = frozenset()
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateList:
    """The addresses that the database may move to.

    Attributes:
        addresses: Without the serving ones, the most likely one first.
        failure: Why they are not known; empty if they are.
    """

    addresses: tuple[IPAddress, ...] = ()
    failure: str = ""


class SwitchState(StrEnum):
    """Whether a target whose rule is closed gets no traffic (ADR 0031)."""

    #: Nothing has shown it yet.
    UNPROVEN = "unproven"
    PROVEN = "proven"
    #: A closed target was healthy.
    INEFFECTIVE = "ineffective"


#: The address of the rule whose description is the state of the switch. It reaches nothing: no
#: network forwards the limited broadcast address (RFC 919).
MARKER = IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class OutboundRules:
    """Our rules in the security group that limits what the load balancer reaches.

    Attributes:
        open: The targets with a rule of their own.
        state: What is known about the switch.
    """

    open: frozenset[Target]
    state: SwitchState = SwitchState.UNPROVEN


#: "This network" (RFC 791): a source address at most.
_THIS_NETWORK = IPv4Network("0.0.0.0/8")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPolicy:
    """The limits for the targets of a group.

    Attributes:
        port: The port of the database and of every desired target.
        allowed_networks: An address outside all of these networks is never registered.
        max_targets: An observation with more addresses is rejected.
        serving_standby: Whether the former primary of an RDS instance stays registered, so that
            the load balancer can switch back to it (ADR 0014).
        warm_targets: The highest number of registered targets that the load balancer must not
            reach, so that it reaches them soon if the database moves there (ADR 0031).
        confirm_seconds: The shortest confirm window. A longer TTL of the DNS records makes the
            window longer.
    """

    port: int
    allowed_networks: tuple[IPNetwork, ...]
    max_targets: int = 15
    serving_standby: bool = False
    warm_targets: int = 0
    confirm_seconds: float = 6.0

    @property
    def families(self) -> frozenset[int]:
        """The IP versions of the allowed networks. A target group has one version."""
        return frozenset(network.version for network in self.allowed_networks)

    def allows(self, address: IPAddress) -> bool:
        """Return whether the address may be registered.

        Loopback, link-local, multicast, unspecified and reserved addresses are never allowed,
        because a load balancer cannot reach a database there.
        """
        if (
            address.is_loopback
            or address.is_link_local
            or address.is_multicast
            or address.is_unspecified
            or address.is_reserved
            or address in _THIS_NETWORK
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
    """An account in a Region: the resources that a deployment can manage."""

    partition: str
    region: str
    account: str

    def __str__(self) -> str:
        return f"{self.region} of account {self.account}"


def scope_of_function(function_arn: str) -> AwsScope:
    """Return the scope in ``arn:partition:lambda:region:account:function:name``."""
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
    #: A state that this version does not know. The review leaves the connection as it is.
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, text: str) -> "ConnectionState":
        """Return the state for AWS's text, whose case differs between its model and its replies."""
        return _STATES.get(text.lower(), cls.UNKNOWN)


_STATES = {state.lower(): state for state in ConnectionState}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConnection:
    """One connection of DescribeVpcEndpointConnections.

    Attributes:
        owner: The account that owns the endpoint, by EC2.
        created_at: When the endpoint was created, in seconds since the epoch; None if unknown.
            It is not compared.
    """

    endpoint_id: str
    owner: str
    state: ConnectionState
    created_at: float | None = field(default=None, compare=False)

    @property
    def is_request(self) -> bool:
        """Whether the consumer waits until the request is accepted or rejected."""
        return self.state is ConnectionState.PENDING_ACCEPTANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointService:
    """The state and the settings of an endpoint service."""

    state: str
    acceptance_required: bool
    load_balancer_arns: tuple[str, ...]


def desired_targets(observation: Observation, policy: SyncPolicy) -> frozenset[Target]:
    """Return the targets for the observed addresses, allowed or not."""
    return targets_at(observation.addresses, policy)


def undesired_targets(
    group: TargetGroup, observation: Observation, policy: SyncPolicy
) -> frozenset[Target]:
    """Return the registered targets whose address was not observed.

    Targets of an IP version that the policy does not have are left out.
    """
    registered = {t for t in group.registered if t.address.version in policy.families}
    return frozenset(registered - desired_targets(observation, policy))


def targets_at(addresses: Iterable[IPAddress], policy: SyncPolicy) -> frozenset[Target]:
    """Return the targets at these addresses that have an IP version of the policy."""
    return frozenset(Target(a, policy.port) for a in addresses if a.version in policy.families)


def first_time(before: float | None, now: float, *, holds: bool) -> float | None:
    """Return when a condition first held."""
    return now if before is None and holds else before


def unbroken_since(before: float | None, now: float, *, holds: bool) -> float | None:
    """Return since when a condition has held without a break."""
    if not holds:
        return None
    return now if before is None else before


class RunStatus(StrEnum):
    """How a run ended."""

    IN_SYNC = "in_sync"
    #: This run changed the group, and the group is in sync. It is healthy, if the run waited for
    #: that.
    SYNCED = "synced"
    #: The group is in sync, but its targets did not become healthy in time.
    UNHEALTHY = "unhealthy"
    #: The run had no time to confirm or to apply a change, the two sources disagree, or a check
    #: failed.
    UNFINISHED = "unfinished"
    #: A guard vetoed a phase of the plan.
    VETOED = "vetoed"
    DRY_RUN = "dry_run"
    #: The last snapshot or change failed. The caller raises an error.
    FAILED = "failed"
