import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import pytest

from lab.dns_cache import CachingResolver
from lab.dns_server import Fault, Responder, Zone
from lab.processes import CommandFailedError, Supervisor
from tests.lab.test_dns_server import HOST, REPO, start_server
from tests.support.clock import FakeClock

RDS, CORP = "rds.example", "corp.example"
NAME = f"db.{RDS}"


@dataclass
class Cached:
    """A caching resolver for two zones with a server each, without sockets."""

    zones: dict[str, Zone] = field(default_factory=dict)
    responders: dict[dns.name.Name, Responder] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)
    queries: int = 0

    def __post_init__(self) -> None:
        self.resolver = CachingResolver(list(self.responders), self._upstream, self.clock.now)

    def _upstream(
        self, zone: dns.name.Name, query: dns.message.QueryMessage
    ) -> dns.message.QueryMessage:
        self.queries += 1
        wire = self.responders[zone].respond(query.to_wire(), "tcp")
        if wire is None:
            raise dns.exception.Timeout
        reply = dns.message.from_wire(wire)
        assert isinstance(reply, dns.message.QueryMessage)
        return reply

    def ask(self, name: str = NAME, kind: str = "A", transport: str = "udp") -> dns.message.Message:
        wire = self.resolver.respond(dns.message.make_query(name, kind).to_wire(), transport)
        assert wire is not None
        return dns.message.from_wire(wire)

    def answers(self, name: str = NAME, kind: str = "A") -> list[str]:
        return [rrset.to_text() for rrset in self.ask(name, kind).answer]


@pytest.fixture
def cached(tmp_path: Path) -> Iterator[Cached]:
    zones = {name: Zone(tmp_path / f"{name}.json") for name in (RDS, CORP)}
    with (tmp_path / "queries.log").open("a") as log:
        for apex, zone in zones.items():
            zone.set_name_servers(apex, [f"ns.{apex}"])
        zones[RDS].set_address(NAME, ["10.0.1.11"], ttl=5)
        servers = {
            dns.name.from_text(name): Responder(tmp_path / f"{name}.json", log) for name in zones
        }
        yield Cached(zones, servers)


def test_caches_an_answer_for_its_ttl_and_counts_it_down(cached: Cached) -> None:
    first = cached.answers()
    cached.zones[RDS].set_address(NAME, ["10.0.2.12"], ttl=5)
    cached.clock.advance(4.5)
    second = cached.answers()
    cached.clock.advance(0.5)
    third = cached.answers()

    assert first == [f"{NAME}. 5 IN A 10.0.1.11"]
    assert second == [f"{NAME}. 1 IN A 10.0.1.11"]
    assert third == [f"{NAME}. 5 IN A 10.0.2.12"]
    assert cached.queries == 2


def test_caches_names_and_types_separately(cached: Cached) -> None:
    assert cached.answers() == [f"{NAME}. 5 IN A 10.0.1.11"]
    assert cached.answers(NAME, "AAAA") == []
    assert cached.answers(RDS, "NS") == [f"{RDS}. 60 IN NS ns.{RDS}."]


def test_queries_the_server_of_the_longest_matching_zone() -> None:
    zones_asked: list[str] = []

    def ask(zone: dns.name.Name, query: dns.message.QueryMessage) -> dns.message.QueryMessage:
        zones_asked.append(zone.to_text())
        reply = dns.message.make_response(query)
        assert isinstance(reply, dns.message.QueryMessage)
        return reply

    zones = [dns.name.from_text(zone) for zone in (".", RDS, "example")]
    resolver = CachingResolver(zones, ask)
    for name in (NAME, f"db.{CORP}", "elsewhere.test"):
        resolver.respond(dns.message.make_query(name, "A").to_wire(), "udp")

    assert zones_asked == [f"{RDS}.", "example.", "."]


def test_a_missing_name_is_nxdomain_with_the_soa(cached: Cached) -> None:
    message = cached.ask(f"unknown.{RDS}")

    assert message.rcode() == dns.rcode.NXDOMAIN
    assert [rrset.name.to_text() for rrset in message.authority] == [f"{RDS}."]


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.REFUSED])
def test_a_failed_query_is_servfail_and_not_cached(cached: Cached, fault: Fault) -> None:
    cached.zones[RDS].set_fault(NAME, fault)
    failed = cached.ask().rcode()
    cached.zones[RDS].set_fault(NAME, None)

    assert failed == dns.rcode.SERVFAIL
    assert cached.answers() == [f"{NAME}. 5 IN A 10.0.1.11"]


def test_a_name_without_a_server_is_servfail(cached: Cached) -> None:
    assert cached.ask("elsewhere.test").rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize(("transport", "truncated"), [("udp", True), ("tcp", False)])
def test_a_long_answer_is_truncated_over_udp_only(
    cached: Cached, transport: str, truncated: bool
) -> None:
    cached.zones[RDS].set_address(NAME, [f"10.0.3.{n}" for n in range(70)])
    plain = dns.message.make_query(NAME, "A", use_edns=-1).to_wire()

    wire = cached.resolver.respond(plain, transport)

    assert wire is not None
    assert bool(dns.message.from_wire(wire).flags & dns.flags.TC) is truncated


def test_ignores_another_message(cached: Cached) -> None:
    assert cached.resolver.respond(b"\0\1", "udp") is None


@pytest.mark.lab
def test_reports_a_taken_address() -> None:
    with Supervisor() as supervisor:
        taken = start_server(supervisor).port
        command = [sys.executable, "-m", "lab.dns_cache", "--host", HOST, "--port", str(taken)]
        command.append(f"--forward=.={HOST}:{taken}")

        with pytest.raises(CommandFailedError, match=r"lab\.dns_cache: .*in use"):
            supervisor.run("resolver", command, cwd=REPO)
