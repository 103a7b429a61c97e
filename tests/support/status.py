"""The facts of a working connection path, and fakes of every port that return them."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from target_sync.model import (
    ConnectionState,
    DatabaseKind,
    EndpointConnection,
    EndpointService,
    IPAddress,
    Observation,
    OutboundRules,
    StandbyCheck,
    SwitchState,
    SyncPolicy,
    Target,
    TargetState,
)
from target_sync.status.collector import StatusCollector
from target_sync.status.facts import (
    Database,
    Deployment,
    DescribedTarget,
    Facts,
    FollowedChanges,
    FunctionNetwork,
    GroupDetails,
    Listener,
    LoadBalancer,
    RecentRuns,
    Rule,
    SecurityGroup,
    Skipped,
    SslReply,
    SubnetNetwork,
)
from target_sync.status.report import StatusReport
from target_sync.status.settings import StatusSettings
from target_sync.targets.group_settings import GROUP_ATTRIBUTES, HEALTH_CHECK

#: 2026-11-22 10:00 UTC.
NOW = 1795341600.0
STACK = "orders-privatelink"
NAME = "orders.abc123.eu-west-1.rds.amazonaws.com"
A, B = IPv4Address("10.0.1.11"), IPv4Address("10.0.2.12")
PORT = 5432
_ELB = "arn:aws:elasticloadbalancing:eu-west-1:111122223333"
GROUP_ARN = f"{_ELB}:targetgroup/orders/0123456789abcdef"
BALANCER_ARN = f"{_ELB}:loadbalancer/net/orders/0123456789abcdef"
LISTENER_ARN = f"{_ELB}:listener/net/orders/0123456789abcdef/0123456789abcdef"
SERVICE_ID = "vpce-svc-0a1b2c3d4e5f60718"
PRINCIPAL = "arn:aws:iam::222222222222:root"
TRUSTED, STRANGER = "222222222222", "444444444444"
BALANCER_GROUP, DATABASE_GROUP = "sg-0a1b2c3d", "sg-1a2b3c4d"
OUTBOUND_RULES_GROUP = "sg-2a3b4c5d"
_QUEUES = "https://sqs.eu-west-1.amazonaws.com/111122223333"
FAILED_RUNS_URL, UNDELIVERED_EVENTS_URL = f"{_QUEUES}/failed", f"{_QUEUES}/lost"
VPC = IPv4Network("10.0.0.0/16")
CONSUMERS = IPv4Network("10.0.0.0/8")
EVERYWHERE, NOWHERE = IPv4Network("0.0.0.0/0"), IPv4Network("255.255.255.255/32")

DEPLOYMENT = Deployment(
    stack=STACK,
    kind=DatabaseKind.RDS_INSTANCE,
    policy=SyncPolicy(port=PORT, allowed_networks=(VPC,)),
    target_group_arn=GROUP_ARN,
    service_id=SERVICE_ID,
    consumer_network=CONSUMERS,
    idle_timeout=350,
    identifier="orders",
    database_security_groups=(DATABASE_GROUP,),
    manages_ingress=True,
    principals=frozenset({PRINCIPAL}),
    trusted_accounts=frozenset({TRUSTED}),
    outbound_rules_group=OUTBOUND_RULES_GROUP,
    schedule="every-minute",
    failed_runs_queue=FAILED_RUNS_URL,
    undelivered_events_queue=UNDELIVERED_EVENTS_URL,
)
EXISTING_GROUP = replace(
    DEPLOYMENT,
    owns_network=False,
    service_id="",
    consumer_network=None,
    idle_timeout=None,
    manages_ingress=False,
    principals=frozenset(),
    outbound_rules_group="",
)
"""A deployment with ExistingTargetGroupArn."""
SCALING = replace(
    DEPLOYMENT,
    kind=DatabaseKind.EC2_ASG,
    database_security_groups=(),
    outbound_rules_group="",
    scaling_group="databases",
    schedule="",
)
"""A deployment for an Auto Scaling group."""


def observation(*addresses: IPAddress, **changes: Any) -> Observation:
    """An observation of the database."""
    given = {"name": NAME, "source": "dns", "ttl": 5, "at": 0.0, **changes}
    return Observation(addresses=frozenset(addresses or (A,)), **given)


def target(
    id_: object = A, state: TargetState = TargetState.HEALTHY, reason: str = "", port: int = PORT
) -> DescribedTarget:
    """A target as DescribeTargetHealth returns it."""
    return DescribedTarget(id=str(id_), port=port, state=state, reason=reason)


def rule(*networks: IPv4Network, port: int | None = PORT, **changes: Any) -> Rule:
    """A rule of a security group."""
    given = {"protocol": "tcp", "first_port": port, "last_port": port, **changes}
    return Rule(networks=networks, **given)


def connection(
    state: ConnectionState = ConnectionState.AVAILABLE,
    owner: str = TRUSTED,
    age: float | None = 3600.0,
) -> EndpointConnection:
    """A consumer's connection."""
    made = None if age is None else NOW - age
    return EndpointConnection(
        endpoint_id="vpce-0a1b2c3d4e5f60718", owner=owner, state=state, created_at=made
    )


GROUP = GroupDetails(
    target_type="ip",
    protocol="TCP",
    health_check=HEALTH_CHECK,
    load_balancer_arns=(BALANCER_ARN,),
)
LISTENER = Listener(
    arn=LISTENER_ARN, protocol="TCP", port=PORT, target_group_arns=frozenset({GROUP_ARN})
)
BALANCER = LoadBalancer(
    arn=BALANCER_ARN,
    state="active",
    vpc_id="vpc-0a1b2c3d",
    zones={"eu-west-1a": "subnet-a", "eu-west-1b": "subnet-b"},
    security_groups=(BALANCER_GROUP, OUTBOUND_RULES_GROUP),
)
SUBNETS = (
    SubnetNetwork(IPv4Network("10.0.1.0/24"), "eu-west-1a", id="subnet-a"),
    SubnetNetwork(IPv4Network("10.0.2.0/24"), "eu-west-1b", id="subnet-b"),
    SubnetNetwork(IPv4Network("10.0.3.0/24"), "eu-west-1c", id="subnet-c"),
)
NO_TRAFFIC = Rule(protocol="icmp", first_port=252, last_port=86, networks=(NOWHERE,))
GROUPS: Mapping[str, SecurityGroup] = {
    BALANCER_GROUP: SecurityGroup(inbound=(rule(CONSUMERS),), outbound=(NO_TRAFFIC,)),
    # EC2 returns the networks with the same ports as one rule.
    OUTBOUND_RULES_GROUP: SecurityGroup(
        inbound=(), outbound=(NO_TRAFFIC, rule(IPv4Network(A), NOWHERE))
    ),
    DATABASE_GROUP: SecurityGroup(inbound=(rule(groups=(BALANCER_GROUP,)),), outbound=()),
}
OUTBOUND_RULES = OutboundRules(frozenset({Target(A, PORT)}), SwitchState.PROVEN)
RUNS = RecentRuns(
    succeeded_at=NOW - 30,
    in_sync_at=NOW - 30,
    failures=0,
    vetoes=0,
    deregistrations=0,
    seconds=900.0,
)
OUT_OF_SYNC = replace(RUNS, in_sync_at=None)
NO_WAY_OUT = FunctionNetwork((), frozenset())
OUTSIDE = Skipped("The function is outside the VPC.")

DATABASE = Database(state="available", port=PORT, security_groups=(DATABASE_GROUP,))

FACTS = Facts(
    now=NOW,
    observation=observation(),
    database=DATABASE,
    attached=Skipped("There is no Auto Scaling group."),
    targets=(target(),),
    standbys=Skipped("The standby's target does not stay registered."),
    probes=OUTSIDE,
    group=GROUP,
    group_attributes=GROUP_ATTRIBUTES,
    listeners=(LISTENER,),
    listener_attributes={"tcp.idle_timeout.seconds": "350"},
    load_balancer=BALANCER,
    load_balancer_attributes={"load_balancing.cross_zone.enabled": "true"},
    subnets=SUBNETS,
    security_groups=GROUPS,
    outbound_rules=OUTBOUND_RULES,
    service=EndpointService(
        state="Available", acceptance_required=False, load_balancer_arns=(BALANCER_ARN,)
    ),
    principals=frozenset({PRINCIPAL}),
    connections=(connection(),),
    function_network=OUTSIDE,
    recent_runs=RUNS,
    changes=FollowedChanges(None, 14),
    schedule_enabled=True,
    failed_runs=0,
    undelivered_events=0,
)
"""A connection path on which every check is ok or skipped."""


@dataclass
class FakeReporter:
    """Implements ``target_sync.ports.Reporter``."""

    reported: list[StatusReport] = field(default_factory=list)

    def report(self, status_report: StatusReport) -> None:
        self.reported.append(status_report)


@dataclass
class FakeAws:
    """Implements every port of ``target_sync.status.ports`` with given facts.

    Attributes:
        facts: The facts that the methods return.
        errors: The exception that a method raises, by the method's name.
        hanging: Methods that wait until `released` is set.
        calls: The name and the arguments of each call, in order.
        network: The function's network.
        reply: The reply of every server.
        confirmed: The addresses of the standby.
        attached: The target groups of the Auto Scaling group.
    """

    facts: Facts = FACTS
    errors: dict[str, Exception] = field(default_factory=dict)
    hanging: frozenset[str] = frozenset()
    released: threading.Event = field(default_factory=threading.Event)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    network: FunctionNetwork = NO_WAY_OUT
    reply: SslReply = SslReply.TLS
    confirmed: frozenset[IPAddress] = frozenset()
    attached: frozenset[str] | None = frozenset({GROUP_ARN})

    def _call(self, method: str, value: Any, *arguments: Any) -> Any:
        self.calls.append((method, *arguments))
        if method in self.hanging:
            self.released.wait(30)
        if method in self.errors:
            raise self.errors[method]
        return value

    def observe(self) -> Any:
        return self._call("observe", self.facts.observation)

    def check(self, addresses: frozenset[IPAddress]) -> Any:
        return self._call("check", StandbyCheck(confirmed=addresses & self.confirmed), addresses)

    def __getattr__(self, name: str) -> Any:
        """Return a method that returns the fact of this name."""
        fact = getattr(self.facts, name)
        return lambda *arguments: self._call(name, fact, *arguments)

    def security_groups(self, ids: Iterable[str]) -> Any:
        return self._call("security_groups", self.facts.security_groups, frozenset(ids))

    def of_function(self, subnet_ids: Sequence[str]) -> Any:
        return self._call("of_function", self.network, subnet_ids)

    def describe(self) -> Any:
        return self._call("describe", self.facts.outbound_rules)

    def is_enabled(self) -> Any:
        return self._call("is_enabled", self.facts.schedule_enabled)

    def messages(self, url: str) -> Any:
        counts = {
            FAILED_RUNS_URL: self.facts.failed_runs,
            UNDELIVERED_EVENTS_URL: self.facts.undelivered_events,
        }
        return self._call("messages", counts[url], url)

    def attached_target_groups(self, group: str) -> Any:
        return self._call("attached_target_groups", self.attached, group)

    def ask(self, target: DescribedTarget) -> Any:
        return self._call("ask", self.reply, target)


def make_collector(
    aws: FakeAws,
    deployment: Deployment = DEPLOYMENT,
    *,
    serves_standby: bool = False,
    in_vpc: bool = False,
    now: Callable[[], float] = lambda: 0.0,
    seconds: float = 5.0,
) -> StatusCollector:
    """A collector of a stack with this AWS."""
    settings = StatusSettings(
        deployment=deployment,
        sync=None,
        load_balancer_arn=BALANCER_ARN if deployment.owns_network else "",
        function_subnets=("subnet-f",) if in_vpc else (),
        namespace="PostgresPrivateLink",
    )
    fake: Any = aws
    return StatusCollector(
        settings=settings,
        endpoint=fake if deployment.syncs else None,
        database=fake if deployment.syncs else None,
        standbys=fake if serves_standby else None,
        balancers=fake,
        networks=fake,
        scaling=fake,
        outbound_rules=fake if deployment.outbound_rules_group else None,
        service=fake if deployment.owns_network else None,
        metrics=fake if deployment.syncs else None,
        schedule=fake if deployment.syncs else None,
        queues=fake,
        probe=fake if in_vpc else None,
        reporter=FakeReporter(),
        now=now,
        wall_clock=lambda: NOW,
        seconds=seconds,
    )
