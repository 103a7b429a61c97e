"""The models of one failover: DNS, the RDS API, the EC2 API and the target group.

Calls take no time and never fail. The page says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, ip_network
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, cast

from bench.world import FIRST_EVENT, Failover, Kind, World
from lab.simulation.clock import VirtualClock
from lab.simulation.target_group import Checks, ComputedGroup, Port
from target_sync.endpoints.cluster import ClusterWriterEndpoint, RdsCluster
from target_sync.endpoints.dns import DnsEndpoint
from target_sync.model import IPAddress, Observation, StandbyCheck, Target
from target_sync.ports import Endpoint

if TYPE_CHECKING:
    from mypy_boto3_rds.client import RDSClient

PORT = 5432
NETWORK = ip_network("10.0.0.0/16")
OLD, NEW = IPv4Address("10.0.1.11"), IPv4Address("10.0.2.22")
OLD_TARGET, NEW_TARGET = Target(OLD, PORT), Target(NEW, PORT)
NAME = "orders.abcdefghijkl.eu-west-1.rds.amazonaws.com"
MEMBERS: Mapping[str, IPv4Address] = {"orders-1": OLD, "orders-2": NEW}
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
    expired. The names of the members of a cluster do not move. ``moved_at`` is the moment of the
    first answer with the new address.
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
        return Observation(
            name=name,
            addresses=fixed or _ANSWERS[NEW if moved else OLD],
            source=source,
            ttl=int(ttl),
            at=now,
        )


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
    """Implements ``target_sync.ports.Standbys``: both servers are the database's own."""

    calls: int = 0

    def check(self, addresses: frozenset[IPAddress]) -> StandbyCheck:
        """Confirm all addresses with one call."""
        self.calls += 1
        return StandbyCheck(confirmed=addresses)


@dataclass(slots=True, kw_only=True)
class Scene:
    """The models of one failover, connected.

    Attributes:
        both_registered: Whether both addresses are targets from the start, and stay so.
    """

    world: World
    failover: Failover
    authoritative: bool = False
    both_registered: bool = False
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(FIRST_EVENT))
    standbys: OwnAddresses = field(default_factory=OwnAddresses)
    names: Names = field(init=False)
    rds: RdsApi = field(init=False)
    cluster: RdsCluster = field(init=False)
    group: ComputedGroup = field(init=False)

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
        self.group = ComputedGroup(
            now=self.clock.now,
            ports=self._ports(),
            registration_seconds=partial(self.world.registration.draw, self.random("group")),
            checks=Checks(interval=self.world.interval),
        )
        self.group.put(OLD_TARGET, self.failover.old_checks_from)
        if self.both_registered:
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
        return ClusterWriterEndpoint(NAME, self.cluster, self.names, self.clock.now)

    @property
    def in_sync(self) -> bool:
        """Whether the group has exactly the desired targets of after the failover."""
        desired = {NEW_TARGET, OLD_TARGET} if self.both_registered else {NEW_TARGET}
        return self.group.registered == desired

    @property
    def aws_calls(self) -> int:
        """The number of calls to AWS APIs so far."""
        return self.group.calls + self.rds.calls + self.standbys.calls
