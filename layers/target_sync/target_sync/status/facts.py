"""The collected facts about the connection path, as values.

Moments are seconds since the epoch, because they come from AWS.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import TypeAlias, TypeVar

from target_sync import model
from target_sync.environment import is_address
from target_sync.model import (
    DatabaseKind,
    EndpointConnection,
    EndpointService,
    FailedObservation,
    IPAddress,
    IPNetwork,
    Observation,
    OutboundRules,
    StandbyCheck,
    SyncPolicy,
    Target,
    TargetState,
)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Stands for a fact that the function could not read, for example without a permission."""

    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """Stands for a fact that this stack does not have, or that needs a missing one."""

    reason: str


_T = TypeVar("_T")
Unavailable: TypeAlias = Unknown | Skipped
Fact: TypeAlias = _T | Unavailable


class FactUnavailableError(Exception):
    """A check or a query needs a fact that is unavailable."""

    def __init__(self, fact: Unavailable) -> None:
        super().__init__(fact.reason)
        self.fact = fact


def require(fact: Fact[_T]) -> _T:
    """Return the fact itself.

    Raises:
        FactUnavailableError: The fact is unavailable.
    """
    if isinstance(fact, Unavailable):
        raise FactUnavailableError(fact)
    return fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """The database as RDS or EC2 describes it now.

    Attributes:
        state: Its status in the words of the API.
        port: None if the API does not give one.
        security_groups: The IDs of the groups that apply.
        subnets: The IDs of the subnets of its subnet group; empty if the API does not give them.
    """

    state: str
    security_groups: tuple[str, ...]
    port: int | None = None
    subnets: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedTarget:
    """A target as DescribeTargetHealth returns it.

    Attributes:
        id: An address, or the ID of an instance.
        reason: AWS's code for the state; may be empty.
    """

    id: str
    port: int
    state: TargetState
    reason: str = ""

    @property
    def is_registered(self) -> bool:
        """Whether the target is in the group. A draining target is not."""
        return self.state is not TargetState.DRAINING

    def __str__(self) -> str:
        if is_address(self.id):
            return str(Target(ip_address(self.id), self.port))
        return f"{self.id}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDetails:
    """A target group without its targets.

    Attributes:
        health_check: The settings of `targets.group_settings.HEALTH_CHECK`, by their names there.
    """

    target_type: str
    protocol: str
    health_check: Mapping[str, object]
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
        zones: The ID of its subnet in each of its Availability Zones.
        security_groups: Their IDs; empty if it was created without security groups.
        enforces_inbound_rules: Whether inbound rules apply to PrivateLink traffic too.
    """

    arn: str
    state: str
    vpc_id: str
    zones: Mapping[str, str]
    security_groups: tuple[str, ...] = ()
    enforces_inbound_rules: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of a security group.

    Attributes:
        first_port: The lowest port; None, as `last_port`, if the rule covers every port.
        networks: The CIDR blocks on the other side.
        groups: The IDs of the security groups on the other side.
        prefix_lists: The IDs of the prefix lists on the other side. The checks do not read these.
    """

    protocol: str
    first_port: int | None
    last_port: int | None
    networks: tuple[IPNetwork, ...] = ()
    groups: tuple[str, ...] = ()
    prefix_lists: tuple[str, ...] = ()

    def covers(self, port: int) -> bool:
        """Whether the rule applies to TCP on this port."""
        if self.protocol == "-1":
            return True
        if self.protocol not in {"tcp", "6"}:
            return False
        if self.first_port is None or self.last_port is None:
            return True
        return self.first_port <= port <= self.last_port


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """The rules of a security group, and its VPC."""

    inbound: tuple[Rule, ...]
    outbound: tuple[Rule, ...]
    vpc_id: str = ""


@dataclass(frozen=True, slots=True)
class SubnetNetwork:
    """The network and the Availability Zone of a subnet.

    Attributes:
        accepts_load_balancers: Whether AWS offers Network Load Balancers in the zone.
    """

    network: IPNetwork
    zone: str
    accepts_load_balancers: bool = True
    id: str = ""


@dataclass(frozen=True, slots=True)
class SubnetRoute:
    """How a subnet reaches AWS.

    Attributes:
        default_gateway: The ID of the gateway of its default route, for example a NAT gateway;
            empty if it has none. An internet gateway does not count, because a function has no
            public address.
    """

    subnet_id: str
    default_gateway: str


@dataclass(frozen=True, slots=True)
class FunctionNetwork:
    """How a function in a VPC reaches AWS.

    Attributes:
        routes: One for each of its subnets.
        interface_endpoints: The services that have an interface endpoint with private DNS in the
            VPC, by their names there, for example `elasticloadbalancing`.
    """

    routes: tuple[SubnetRoute, ...]
    interface_endpoints: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentRuns:
    """The newest runs of ReconcileTargetsFunction, by its own metrics.

    Attributes:
        succeeded_at: When a run last succeeded; None if none did within `seconds`.
        in_sync_at: When a run last ended with the targets equal to the desired ones; None as above.
        failures: The number of runs that failed within `seconds`.
        vetoes: The number of runs with a veto.
        deregistrations: The number of deregistered targets.
        seconds: The period that the counts cover.
    """

    succeeded_at: float | None
    in_sync_at: float | None
    failures: int
    vetoes: int
    deregistrations: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedChange:
    """The newest change that the function followed, in seconds after its trigger.

    Attributes:
        at: When its run ended, to the minute.
    """

    at: float
    to_detect: float | None = None
    to_register: float | None = None
    to_healthy: float | None = None


@dataclass(frozen=True, slots=True)
class FollowedChanges:
    """The newest change; `last` is None if there was none within `days`."""

    last: FollowedChange | None
    days: int


class SslReply(StrEnum):
    """A server's reply to an SSLRequest (PostgreSQL, *Message Formats*)."""

    TLS = "S"
    #: PostgreSQL without TLS.
    PLAIN = "N"
    #: The server accepts the connection, but its reply is not PostgreSQL's.
    OTHER = "other"
    #: The function cannot connect. The load balancer may be able to.
    NO_CONNECTION = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The stack as deployed. The checks compare the facts with it.

    Attributes:
        service_id: The ID of the endpoint service; empty with an existing target group.
        owns_network: Whether the load balancer and the endpoint service belong to the stack.
        enforces_inbound_rules: `EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic`.
        consumer_network: `ConsumerNetwork`; None with an existing target group.
        idle_timeout: `IdleTimeoutSeconds`; None with an existing target group.
        identifier: The database's, for the API that describes it.
        database_security_groups: The IDs of the database's groups at the deployment, as far as AWS
            reports them. `database_groups` returns those of today.
        database_subnets: The IDs of its subnets at the deployment; empty if nothing needs them.
        manages_ingress: Whether the stack adds a rule to the database's security group.
        principals: The ARNs that may connect.
        trusted_accounts: The accounts whose requests ReviewConnectionsFunction accepts.
        outbound_rules_group: The ID of the security group whose outbound rules open the targets;
            empty if other rules let the load balancer reach them.
        apis: The APIs that the sync function calls, by the names of their interface endpoints.
        scaling_group: The name of the Auto Scaling group; empty for every other kind.
        schedule: The name of the sync function's schedule; empty if there is no such function.
        failed_runs_queue: A URL; the same for `undelivered_events_queue`.
    """

    stack: str
    kind: DatabaseKind
    policy: SyncPolicy
    target_group_arn: str
    service_id: str = ""
    owns_network: bool = True
    enforces_inbound_rules: bool = False
    consumer_network: IPNetwork | None = None
    idle_timeout: int | None = None
    identifier: str = ""
    database_security_groups: tuple[str, ...] = ()
    database_subnets: tuple[str, ...] = ()
    manages_ingress: bool = False
    acceptance_required: bool = False
    principals: frozenset[str] = frozenset()
    trusted_accounts: frozenset[str] = frozenset()
    outbound_rules_group: str = ""
    apis: tuple[str, ...] = ("elasticloadbalancing",)
    scaling_group: str = ""
    schedule: str = ""
    failed_runs_queue: str = ""
    undelivered_events_queue: str = ""

    @property
    def region(self) -> str:
        """The Region, which every command of a remedy names."""
        return self.target_group_arn.split(":")[3]

    @property
    def syncs(self) -> bool:
        """Whether the stack has a sync function. An Auto Scaling group needs none."""
        return self.kind is not DatabaseKind.EC2_ASG


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the function read at one moment.

    `None` as a fact: AWS says that the resource does not exist.

    Attributes:
        database: What RDS or EC2 says about the database now.
        attached: Whether the Auto Scaling group is attached to the target group.
        standbys: Whether the database owns the registered addresses outside the observation.
        probes: The reply of each target to an SSLRequest, by address and port.
        load_balancer: The stack's own, or the first one that uses an existing target group.
        listener_attributes: The attributes of the listener that forwards to the group.
        security_groups: The groups of the load balancer and the database that exist, by ID.
        outbound_rules: The rules that open the targets, and the state of the switch.
        failed_runs: The number of messages in this queue; the same for `undelivered_events`.
    """

    now: float
    observation: Fact[Observation | FailedObservation]
    database: Fact[Database | None]
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
    outbound_rules: Fact[OutboundRules]
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
    """Return the Availability Zone of an address; empty if it is in none of the subnets."""
    return next((subnet.zone for subnet in subnets if address in subnet.network), "")


def require_load_balancer(fact: Fact[LoadBalancer | None]) -> LoadBalancer:
    """Return the load balancer.

    Raises:
        FactUnavailableError: It does not exist, or the fact is unavailable.
    """
    balancer = require(fact)
    if balancer is None:
        raise FactUnavailableError(Skipped("There is no load balancer."))
    return balancer


def database_groups(database: Fact[Database | None], deployment: Deployment) -> tuple[str, ...]:
    """Return the IDs of the database's groups today, or else those of the deployment."""
    if isinstance(database, Database):
        return database.security_groups
    return deployment.database_security_groups


def desired_targets(facts: Facts, deployment: Deployment) -> frozenset[str] | None:
    """Return the desired targets as texts; None without an observation."""
    observation = facts.observation
    if not isinstance(observation, Observation):
        return None
    return frozenset(map(str, model.desired_targets(observation, deployment.policy)))


def is_warm(target: DescribedTarget, facts: Facts) -> bool:
    """Return whether the target is registered and closed. None is closed without the switch."""
    rules = facts.outbound_rules
    is_closed = isinstance(rules, OutboundRules) and str(target) not in map(str, rules.open)
    return target.is_registered and is_closed


def target_addresses(facts: Facts, deployment: Deployment) -> frozenset[str]:
    """Return the addresses of the targets that get traffic or should; none for instances."""
    if not deployment.syncs:
        return frozenset()
    observation = facts.observation
    desired = observation.addresses if isinstance(observation, Observation) else ()
    targets = facts.targets if isinstance(facts.targets, tuple) else ()
    serving = (t.id for t in targets if t.is_registered and not is_warm(t, facts))
    return frozenset({*map(str, desired), *filter(is_address, serving)})


def warm_addresses(facts: Facts, deployment: Deployment) -> frozenset[str]:
    """Return the addresses of the warm targets that the database does not have now."""
    targets = facts.targets if isinstance(facts.targets, tuple) else ()
    warm = frozenset(t.id for t in targets if is_warm(t, facts) and is_address(t.id))
    return warm - target_addresses(facts, deployment)
