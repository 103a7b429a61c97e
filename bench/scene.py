"""The models of one failover: DNS, the RDS API, the EC2 API and the target group.

Calls take no time and never fail. The page says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address, ip_network
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, cast

from bench.world import FIRST_EVENT, Failover, Kind, World
from lab.simulation.clock import VirtualClock
from lab.simulation.outbound_rules import ComputedRules
from lab.simulation.target_group import CLOSED, OPEN, Checks, ComputedGroup, Port
from target_sync.config import StandbyTargets
from target_sync.endpoints.cluster import ClusterMembers, ClusterWriterEndpoint, RdsCluster
from target_sync.endpoints.dns import DnsEndpoint
from target_sync.model import (
    Alias,
    CandidateList,
    IPAddress,
    Observation,
    StandbyCheck,
    SwitchState,
    Target,
)
from target_sync.ports import Candidates, Endpoint

if TYPE_CHECKING:
    from mypy_boto3_rds.client import RDSClient

PORT = 5432
NETWORK = ip_network("10.0.0.0/16")
OLD, NEW = IPv4Address("10.0.1.11"), IPv4Address("10.0.2.22")
OLD_TARGET, NEW_TARGET = Target(OLD, PORT), Target(NEW, PORT)
NAME = "orders.abcdefghijkl.eu-west-1.rds.amazonaws.com"
MEMBERS: Mapping[str, IPv4Address] = {"orders-1": OLD, "orders-2": NEW}
_WRITERS = tuple(MEMBERS)
_ANSWERS: Mapping[IPv4Address, frozenset[IPAddress]] = {a: frozenset({a}) for a in (OLD, NEW)}


def _endpoint_of(member: str) -> str:
    return f"{member}.abcdefghijkl.eu-west-1.rds.amazonaws.com"


_MEMBER_ANSWERS = {_endpoint_of(member): _ANSWERS[address] for member, address in MEMBERS.items()}
_INSTANCES = {
    "DBInstances": [
        {"DBInstanceIdentifier": member, "Endpoint": {"Address": _endpoint_of(member)}}
        for member in MEMBERS
    ]
}
_CLUSTERS = {
    writer: {
        "DBClusters": [
            {
                "DBClusterMembers": [
                    {"DBInstanceIdentifier": member, "IsClusterWriter": member == writer}
                    for member in MEMBERS
                ]
            }
        ]
    }
    for writer in MEMBERS
}


@dataclass(slots=True, kw_only=True)
class Names:
    """DNS. Implements ``target_sync.ports.NameResolver``.

    The name of the database moves at the flip. Each cache gives the new address when its entry has
    expired. The names of the members of a cluster do not move; the cluster's name is an alias of
    one of them. ``moved_at`` is the moment of the first answer with the new address.
    """

    clock: VirtualClock
    failover: Failover
    ttl: float
    authoritative: bool
    chances: Random
    queries: int = 0
    moved_at: float = inf

    def resolve(self, name: str) -> Observation:
        """Look up a name once."""
        self.queries += 1
        now, caches = self.clock.moment, self.failover.caches
        cache = caches[0] if len(caches) == 1 else caches[self.chances.random() < 0.5]  # noqa: PLR2004 - one of two
        fixed = _MEMBER_ANSWERS.get(name)
        if self.authoritative:
            moved, ttl, source = now >= self.failover.flip, self.ttl, "dns (authoritative)"
        else:
            moved, ttl, source = now >= cache, (cache - now) % self.ttl, "dns"
        if moved and not fixed:
            self.moved_at = min(self.moved_at, now)
        observation = Observation(
            name=name,
            addresses=fixed or _ANSWERS[NEW if moved else OLD],
            source=source,
            ttl=int(ttl),
            at=now,
        )
        if fixed or self.failover.kind is Kind.INSTANCE:
            return observation
        alias = Alias(name, _endpoint_of(_WRITERS[moved]), int(ttl))
        return replace(observation, aliases=(alias,))


@dataclass(slots=True)
class RdsApi:
    """The two calls of an RDS client that list the members of a cluster."""

    clock: VirtualClock
    failover: Failover
    calls: int = 0

    def describe_db_clusters(self, **_: object) -> Mapping[str, Any]:
        """Return which member is the writer."""
        self.calls += 1
        old, new = MEMBERS
        return _CLUSTERS[new if self.clock.moment >= self.failover.api else old]

    def describe_db_instances(self, **_: object) -> Mapping[str, Any]:
        """Return the endpoint of each member."""
        self.calls += 1
        return _INSTANCES


@dataclass(slots=True)
class OwnAddresses:
    """The EC2 API: both servers are the database's own.

    Implements ``target_sync.ports.Standbys`` and ``target_sync.ports.Candidates``.
    """

    calls: int = 0

    def check(self, addresses: frozenset[IPAddress]) -> StandbyCheck:
        """Confirm all addresses with one call."""
        self.calls += 1
        return StandbyCheck(confirmed=addresses)

    def addresses(self, serving: frozenset[IPAddress]) -> CandidateList:
        """List the other server with one call."""
        self.calls += 1
        return CandidateList(addresses=tuple(a for a in (OLD, NEW) if a not in serving))


@dataclass(slots=True, kw_only=True)
class Scene:
    """The models of one failover, connected.

    Attributes:
        standby: Which targets stay registered; None if no rules of ours limit the load balancer.
    """

    world: World
    failover: Failover
    authoritative: bool = False
    standby: StandbyTargets | None = None
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(FIRST_EVENT))
    interfaces: OwnAddresses = field(default_factory=OwnAddresses)
    names: Names = field(init=False)
    rds: RdsApi = field(init=False)
    cluster: RdsCluster = field(init=False)
    members: ClusterMembers = field(init=False)
    group: ComputedGroup = field(init=False)
    rules: ComputedRules = field(init=False)

    def __post_init__(self) -> None:
        self.names = Names(
            clock=self.clock,
            failover=self.failover,
            ttl=self.world.ttl,
            authoritative=self.authoritative,
            chances=self.random("names"),
        )
        self.rds = RdsApi(self.clock, self.failover)
        self.cluster = RdsCluster(cast("RDSClient", self.rds), "orders")
        # A warm container knows the endpoints of the members.
        self.cluster.members()
        self.rds.calls = 0
        self.members = ClusterMembers(self.cluster, self.names, self.clock.now)
        self.group = ComputedGroup(
            now=self.clock.now,
            ports=self._ports(),
            registration_seconds=partial(self.world.registration.draw, self.random("group")),
            checks=Checks(interval=self.world.interval),
        )
        self.rules = ComputedRules(
            now=self.clock.now,
            group=self.group,
            propagation_seconds=partial(self.world.rule.draw, self.random("rules")),
            wide=OPEN if self.standby is None else CLOSED,
            state=SwitchState.PROVEN,
        )
        self.rules.put({OLD_TARGET, *(self._desired if self._is_serving else ())})
        self.group.put(OLD_TARGET, self.failover.old_checks_from)
        if self.standby in {StandbyTargets.SERVING, StandbyTargets.WARM}:
            self.group.put(NEW_TARGET, self.failover.new_checks_from)

    def random(self, purpose: str) -> Random:
        """Return random numbers for one purpose, independent of the other purposes."""
        return Random(f"{self.failover.chances}/{purpose}")  # noqa: S311 - a simulation

    def _ports(self) -> Mapping[IPAddress, Port]:
        if self.failover.kind is Kind.CLUSTER:
            # The worst case: the old writer never stops accepting connections.
            always = Port(open_at_first=True)
            return {OLD: always, NEW: always}
        return {
            OLD: Port(open_at_first=True, turns=(self.failover.dies,)),
            NEW: Port(open_at_first=False, turns=(self.failover.listens,)),
        }

    @property
    def name(self) -> DnsEndpoint:
        """The database, observed by its name alone."""
        return DnsEndpoint(NAME, self.names)

    @property
    def endpoint(self) -> Endpoint:
        """The database, observed as the stack does."""
        if self.failover.kind is Kind.INSTANCE:
            return self.name
        return ClusterWriterEndpoint(NAME, self.cluster, self.members, self.clock.now)

    @property
    def candidates(self) -> Candidates:
        """The addresses that the database may move to."""
        if self.failover.kind is Kind.INSTANCE:
            return self.interfaces
        return self.members

    @property
    def in_sync(self) -> bool:
        """Whether the load balancer reaches exactly the desired targets of after the failover."""
        serving = self.group.registered
        if self.standby is not None:
            serving &= self.rules.opened
        return serving == self._desired

    @property
    def _is_serving(self) -> bool:
        return self.standby is StandbyTargets.SERVING

    @property
    def _desired(self) -> frozenset[Target]:
        return frozenset({NEW_TARGET, OLD_TARGET} if self._is_serving else {NEW_TARGET})

    @property
    def changed_at(self) -> float:
        """The moment of the last change of the group or of its rules."""
        return max([self.group.changed_at, *(at for at, _, _ in self.rules.changes[-1:])])

    @property
    def aws_calls(self) -> int:
        """The number of calls to AWS APIs so far."""
        return self.group.calls + self.rules.calls + self.rds.calls + self.interfaces.calls
