"""When the name servers of a zone decide, and when the resolver of the system does.

The tests use real DNS on loopback. The resolver and the name server of the zone return different
addresses, as with a cache or a private zone.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest
from dns.nameserver import Do53Nameserver
from dns.rcode import Rcode
from dns.resolver import Resolver

from lab.addresses import free_port_on, write_atomically
from lab.dns_server import Fault, Zone
from lab.processes import Supervisor, accepts_connections
from target_sync.endpoints import authoritative
from target_sync.endpoints.authoritative import AuthoritativeResolver
from target_sync.endpoints.dns import DnsResolver, NameServer
from target_sync.model import Alias, FailedObservation, Observation
from tests.support.clock import FakeClock

RESOLVER, CORP_SERVER, RDS_SERVER, CACHE = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"
UNUSED = "127.0.0.5"

RDS = "eu-west-1.rds.amazonaws.com"
NAME = f"orders.abc123.{RDS}"
NAME_SERVER = f"ns1.{RDS}"
ALIAS = "db.corp.example"

OLD, NEW = "10.0.1.11", "10.0.2.12"
AUTHORITATIVE, SYSTEM = "dns (authoritative)", "dns"


class Server:
    """A DNS server of the lab with its own zone file."""

    def __init__(self, supervisor: Supervisor, host: str, port: int) -> None:
        self._file = supervisor.work_dir / f"{host}.json"
        self._log = supervisor.work_dir / f"{host}.log"
        self.zone = Zone(self._file)
        options = {"zone": self._file, "query-log": self._log}
        start(supervisor, "dns_server", host, port, options)

    def forget(self) -> None:
        write_atomically(self._file, "{}\n")
        self._log.write_text("")

    def queries(self, name: str, kind: str = "A") -> list[str]:
        """Return the transport of each query for a name."""
        lines = [line.split() for line in self._log.read_text().splitlines()]
        return [transport for _, *queries, transport in lines if queries == [name, kind]]


def start(
    supervisor: Supervisor, module: str, host: str, port: int, options: Mapping[str, object]
) -> None:
    command = [sys.executable, "-m", f"lab.{module}", "--host", host, "--port", str(port)]
    command += [f"--{option}={value}" for option, value in options.items()]
    supervisor.start(
        f"{module} on {host}",
        command,
        cwd=Path(__file__).parents[2],
        ready=lambda: accepts_connections(host, port),
    )


class World:
    """A resolver, the name server of a company, and the name server of RDS.

    Attributes:
        clock: The time of the pauses and of the cache.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.port = free_port_on([RESOLVER, CORP_SERVER, RDS_SERVER, CACHE, UNUSED])
        self.resolver, self.corp, self.rds = (
            Server(supervisor, host, self.port) for host in (RESOLVER, CORP_SERVER, RDS_SERVER)
        )
        start(supervisor, "dns_cache", CACHE, self.port, {"forward": f".={RDS_SERVER}:{self.port}"})
        self.reset()

    def reset(self) -> None:
        """Give the name server of RDS a new address; the resolver keeps the old one."""
        self.clock = FakeClock()
        for server in (self.resolver, self.corp, self.rds):
            server.forget()
        for server in (self.resolver, self.rds):
            server.zone.set_name_servers(RDS, [NAME_SERVER])
            server.zone.set_address(NAME_SERVER, [RDS_SERVER], ttl=60)
        self.resolver.zone.set_address(NAME, [OLD], ttl=2)
        self.rds.zone.set_address(NAME, [NEW], ttl=5)

    def add_company(self) -> None:
        """Add an alias in another zone that points to the database."""
        for server in (self.resolver, self.corp):
            server.zone.set_name_servers("corp.example", ["ns.corp.example"])
            server.zone.set_alias(ALIAS, NAME, ttl=4)
        self.resolver.zone.set_address("ns.corp.example", [CORP_SERVER], ttl=600)

    def add_second_name_server(self) -> None:
        """Make the company's name server a second one of the RDS zone."""
        self.add_company()
        self.corp.zone.set_name_servers(RDS, [NAME_SERVER])
        self.corp.zone.set_address(NAME, [NEW])
        self.resolver.zone.set_name_servers(RDS, [NAME_SERVER, "ns.corp.example"])

    def resolve_by(self, host: str = RESOLVER) -> Callable[[str], Observation | FailedObservation]:
        """Return the look-up of one container whose system uses this resolver."""
        system = DnsResolver(now=self.clock.now, name_servers=[NameServer(host, self.port)])
        zones = Resolver(configure=False)
        zones.nameservers = [Do53Nameserver(host, self.port)]
        resolver = AuthoritativeResolver(
            now=self.clock.now, system=system, zones=zones, port=self.port
        )
        return resolver.resolve


@pytest.fixture(scope="module")
def _world() -> Iterator[World]:
    with Supervisor() as supervisor:
        yield World(supervisor)


@pytest.fixture
def world(_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(authoritative, "TRY_SECONDS", 0.2)
    _world.reset()
    return _world


def source_of(observed: Observation | FailedObservation) -> tuple[set[str], str]:
    """Return the addresses and the source of an observation."""
    assert isinstance(observed, Observation)
    return {str(address) for address in observed.addresses}, observed.source


def test_the_name_server_of_the_zone_decides_with_its_ttl(world: World) -> None:
    observed = world.resolve_by()(NAME)

    assert observed == Observation(
        name=NAME,
        addresses=frozenset({ip_address(NEW)}),
        source=AUTHORITATIVE,
        ttl=5,
        at=world.clock.now(),
    )


def test_a_change_is_observed_at_once_while_a_cache_has_the_old_address(world: World) -> None:
    name = f"flipped.abc123.{RDS}"
    world.rds.zone.set_address(name, [OLD], ttl=3600)
    resolve = world.resolve_by(CACHE)
    cached = DnsResolver(now=world.clock.now, name_servers=[NameServer(CACHE, world.port)]).resolve
    before = source_of(cached(name)), source_of(resolve(name))

    world.rds.zone.set_address(name, [NEW], ttl=3600)

    assert before == (({OLD}, SYSTEM), ({OLD}, AUTHORITATIVE))
    assert source_of(cached(name)) == ({OLD}, SYSTEM)
    assert source_of(resolve(name)) == ({NEW}, AUTHORITATIVE)


def test_an_alias_within_the_zone_is_followed(world: World) -> None:
    cluster = f"orders.cluster-abc123.{RDS}"
    world.resolver.zone.set_alias(cluster, NAME)
    world.rds.zone.set_alias(cluster, NAME, ttl=3)

    observed = world.resolve_by()(cluster)

    assert source_of(observed) == ({NEW}, AUTHORITATIVE)
    assert isinstance(observed, Observation)
    assert (observed.name, observed.ttl) == (cluster, 5)
    assert observed.aliases == (Alias(cluster, NAME, 3),)


def test_an_alias_into_another_zone_is_followed_to_the_name_server_of_that_zone(
    world: World,
) -> None:
    world.add_company()

    observed = world.resolve_by()(ALIAS)

    assert source_of(observed) == ({NEW}, AUTHORITATIVE)
    assert isinstance(observed, Observation)
    assert (observed.name, observed.ttl) == (ALIAS, 5)
    assert observed.aliases == (Alias(ALIAS, NAME, 4),)


def test_records_of_another_zone_from_a_name_server_are_ignored(world: World) -> None:
    world.add_company()
    world.corp.zone.set_address(NAME, ["10.0.9.99"], ttl=1)

    observed = world.resolve_by()(ALIAS)

    assert source_of(observed) == ({NEW}, AUTHORITATIVE)
    assert isinstance(observed, Observation)
    assert observed.ttl == 5


def test_the_resolver_decides_about_an_alias_loop_through_two_zones(world: World) -> None:
    world.add_company()
    world.resolver.zone.set_address(ALIAS, [OLD])
    world.rds.zone.set_alias(NAME, ALIAS)

    assert source_of(world.resolve_by()(ALIAS)) == ({OLD}, SYSTEM)


def test_a_truncated_answer_of_the_name_server_is_repeated_over_tcp(world: World) -> None:
    world.rds.zone.set_fault(NAME, Fault.TRUNCATE)

    assert source_of(world.resolve_by()(NAME)) == ({NEW}, AUTHORITATIVE)
    assert world.rds.queries(NAME) == ["udp", "tcp"]


def test_a_caching_server_is_not_authoritative(world: World) -> None:
    world.resolver.zone.set_address(NAME_SERVER, [CACHE])

    assert source_of(world.resolve_by()(NAME)) == ({OLD}, SYSTEM)


def test_the_resolver_decides_if_the_name_server_does_not_serve_the_zone(world: World) -> None:
    # The server has another zone.
    world.resolver.zone.set_address(NAME_SERVER, [CORP_SERVER])
    world.corp.zone.set_name_servers("corp.example", ["ns.corp.example"])

    assert source_of(world.resolve_by()(NAME)) == ({OLD}, SYSTEM)
    assert world.corp.queries(NAME)


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.REFUSED])
def test_the_resolver_decides_if_the_name_server_fails(world: World, fault: Fault) -> None:
    world.rds.zone.set_fault(NAME, fault)

    assert source_of(world.resolve_by()(NAME)) == ({OLD}, SYSTEM)


@pytest.mark.parametrize("code", [Rcode.SERVFAIL, Rcode.REFUSED, Rcode.NXDOMAIN, Rcode.YXDOMAIN])
def test_the_records_of_a_reply_with_an_error_code_do_not_count(
    world: World, code: Rcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    udp = dns.query.udp_with_fallback

    def with_code(*arguments: Any, **options: Any) -> tuple[dns.message.Message, bool]:
        reply, is_tcp = udp(*arguments, **options)
        reply.set_rcode(code)
        return reply, is_tcp

    monkeypatch.setattr(dns.query, "udp_with_fallback", with_code)

    assert source_of(world.resolve_by()(NAME)) == ({OLD}, SYSTEM)


def test_a_silent_name_server_gets_no_query_until_the_pause_ends(world: World) -> None:
    world.rds.zone.set_fault(NAME, Fault.TIMEOUT)
    resolve = world.resolve_by()

    assert source_of(resolve(NAME)) == ({OLD}, SYSTEM)
    world.rds.zone.set_fault(NAME, None)
    world.clock.advance(59.5)
    assert source_of(resolve(NAME)) == ({OLD}, SYSTEM)
    assert len(world.rds.queries(NAME)) == 1
    world.clock.advance(0.5)
    assert source_of(resolve(NAME)) == ({NEW}, AUTHORITATIVE)


def test_the_name_servers_are_looked_up_again_after_the_pause(world: World) -> None:
    # The zone may have moved to other servers.
    world.resolver.zone.set_name_servers(RDS, [NAME_SERVER], ttl=900)
    world.resolver.zone.set_address(NAME_SERVER, [UNUSED], ttl=900)
    resolve = world.resolve_by()

    assert source_of(resolve(NAME)) == ({OLD}, SYSTEM)
    world.resolver.zone.set_address(NAME_SERVER, [RDS_SERVER], ttl=900)
    world.clock.advance(60.0)
    assert source_of(resolve(NAME)) == ({NEW}, AUTHORITATIVE)


def test_a_second_name_server_replaces_a_silent_one_and_is_preferred_afterwards(
    world: World,
) -> None:
    world.add_second_name_server()
    resolve = world.resolve_by()
    iterations = [source_of(resolve(NAME))]
    first, second = sorted((world.corp, world.rds), key=lambda it: -len(it.queries(NAME)))

    first.zone.set_fault(NAME, Fault.TIMEOUT)
    iterations += [source_of(resolve(NAME)) for _ in range(2)]

    assert iterations == [({NEW}, AUTHORITATIVE)] * 3
    assert (len(first.queries(NAME)), len(second.queries(NAME))) == (2, 2)


def test_a_name_server_without_an_address_is_skipped(world: World) -> None:
    world.resolver.zone.set_name_servers(RDS, [NAME_SERVER, f"ns2.{RDS}"])

    assert source_of(world.resolve_by()(NAME)) == ({NEW}, AUTHORITATIVE)


def test_at_most_two_name_servers_are_tried(world: World) -> None:
    names = [f"ns{n}.{RDS}" for n in range(4)]
    for name in names:
        world.resolver.zone.set_address(name, [UNUSED])
    world.resolver.zone.set_name_servers(RDS, names)

    assert source_of(world.resolve_by()(NAME)) == ({OLD}, SYSTEM)
    assert sum(len(world.resolver.queries(name)) for name in names) == 2


def test_the_resolver_decides_if_the_name_servers_are_too_slow(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authoritative, "ATTEMPT_SECONDS", 0.0)

    assert source_of(world.resolve_by()(NAME)) == ({OLD}, SYSTEM)
    assert world.rds.queries(NAME) == []


def test_the_resolver_decides_about_a_name_that_only_it_knows(world: World) -> None:
    # A private zone or a split horizon.
    world.rds.zone.remove(NAME)

    assert source_of(world.resolve_by()(NAME)) == ({OLD}, SYSTEM)


def test_the_resolver_decides_about_a_name_without_an_address_for_one_observation(
    world: World,
) -> None:
    world.rds.zone.set_address(NAME, [])
    resolve = world.resolve_by()
    before = source_of(resolve(NAME))

    world.rds.zone.set_address(NAME, [NEW])

    assert before == ({OLD}, SYSTEM)
    assert source_of(resolve(NAME)) == ({NEW}, AUTHORITATIVE)


def test_the_resolver_decides_about_a_public_address(world: World) -> None:
    # The resolver of a VPC returns private addresses for public names of EC2; their zone does not.
    world.rds.zone.set_address(NAME, [NEW, "52.1.2.3"])

    assert source_of(world.resolve_by()(NAME)) == ({OLD}, SYSTEM)


def test_a_public_address_from_both_is_returned(world: World) -> None:
    # The planner decides whether it may become a target.
    for server in (world.rds, world.resolver):
        server.zone.set_address(NAME, ["52.1.2.3"])

    assert source_of(world.resolve_by()(NAME)) == ({"52.1.2.3"}, SYSTEM)


def test_a_failure_is_the_failure_of_the_resolver(world: World) -> None:
    for server in (world.rds, world.resolver):
        server.zone.remove(NAME)

    observed = world.resolve_by()(NAME)

    assert isinstance(observed, FailedObservation)
    assert "does not exist in DNS" in observed.detail


def test_the_name_servers_of_a_top_level_domain_get_no_query(world: World) -> None:
    for server in (world.resolver, world.corp):
        server.zone.set_name_servers("internal", ["ns.internal"])
        server.zone.set_address("db.internal", [OLD])
    world.resolver.zone.set_address("ns.internal", [CORP_SERVER])

    assert source_of(world.resolve_by()("db.internal")) == ({OLD}, SYSTEM)
    assert world.corp.queries("db.internal") == []


@pytest.mark.parametrize(
    ("ttls", "kept"), [((60, 900), 60), ((900, 60), 60), ((5, 5), 60), ((900, 900), 900)]
)
def test_the_name_servers_are_cached_for_their_ttl_and_at_least_a_minute(
    world: World, ttls: tuple[int, int], kept: int
) -> None:
    world.resolver.zone.set_name_servers(RDS, [NAME_SERVER], ttl=ttls[0])
    world.resolver.zone.set_address(NAME_SERVER, [RDS_SERVER], ttl=ttls[1])
    resolve = world.resolve_by()

    resolve(NAME)
    world.clock.advance(kept - 0.5)
    resolve(NAME)
    before = len(world.resolver.queries(RDS, "NS"))
    world.clock.advance(0.5)
    resolve(NAME)

    assert (before, len(world.resolver.queries(RDS, "NS"))) == (1, 2)


def test_the_name_servers_are_cached_for_an_hour_at_most(world: World) -> None:
    world.resolver.zone.set_name_servers(RDS, [NAME_SERVER], ttl=172_800)
    world.resolver.zone.set_address(NAME_SERVER, [RDS_SERVER], ttl=172_800)
    resolve = world.resolve_by()

    resolve(NAME)
    world.clock.advance(3600.0)
    resolve(NAME)

    assert len(world.resolver.queries(RDS, "NS")) == 2


def test_names_of_one_zone_share_its_name_servers(world: World) -> None:
    other = f"orders-2.abc123.{RDS}"
    world.rds.zone.set_address(other, [OLD])
    resolve = world.resolve_by()

    assert source_of(resolve(NAME)) == ({NEW}, AUTHORITATIVE)
    assert source_of(resolve(other)) == ({OLD}, AUTHORITATIVE)
    assert len(world.resolver.queries(RDS, "NS")) == 1


def test_an_unreachable_resolver_raises_no_exception(world: World) -> None:
    system = DnsResolver(now=world.clock.now, name_servers=[NameServer(RESOLVER, world.port)])
    zones = Resolver(configure=False)
    zones.nameservers = []
    resolver = AuthoritativeResolver(now=world.clock.now, system=system, zones=zones)

    assert source_of(resolver.resolve(NAME)) == ({OLD}, SYSTEM)
