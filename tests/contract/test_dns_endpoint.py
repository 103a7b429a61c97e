"""The DNS endpoint against a real server and real packets: answers, TTLs, failures told apart."""

from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from dns.nameserver import Do53Nameserver
from dns.resolver import Resolver

from lab.addresses import free_port
from lab.dns_server import Fault
from lab.processes import Supervisor
from target_sync.clock import SystemClock
from target_sync.endpoints import authoritative
from target_sync.endpoints import dns as dns_adapter
from target_sync.endpoints.authoritative import AuthoritativeResolver
from target_sync.endpoints.dns import DnsEndpoint, DnsResolver
from target_sync.model import FailedObservation, LookupFailure, Observation
from tests.support.name_server import HOST, RunningNameServer

ZONE = "eu-west-1.rds.amazonaws.com"
NAME = f"orders.abc123.{ZONE}"
NAME_SERVER = "ns1.example.com"


#: How long a test waits for an answer that never comes.
PATIENCE_SECONDS = 0.2


class Dns(RunningNameServer):
    """A running DNS server, its zones, and the endpoint that asks it in one of two ways."""

    def __init__(self, supervisor: Supervisor) -> None:
        super().__init__(supervisor)
        self.authoritative = False
        self.zone.set_address(NAME_SERVER, [HOST])
        for apex in ("example.com", "corp.example", ZONE):
            self.zone.set_name_servers(apex, [NAME_SERVER])

    @property
    def source(self) -> str:
        return "dns (authoritative)" if self.authoritative else "dns"

    def endpoint(self, name: str = NAME, *ports: int) -> DnsEndpoint:
        system = self.resolver(SystemClock().now, *ports)
        if not self.authoritative:
            return DnsEndpoint(name, system)
        zones = Resolver(configure=False)
        zones.nameservers = [Do53Nameserver(HOST, self.port)]
        return DnsEndpoint(
            name,
            AuthoritativeResolver(
                now=SystemClock().now, system=system, zones=zones, port=self.port
            ),
        )

    def failure(self, name: str = NAME) -> FailedObservation:
        seen = self.endpoint(name).observe()
        assert isinstance(seen, FailedObservation)
        return seen

    def answer(self, name: str = NAME) -> Observation:
        seen = self.endpoint(name).observe()
        assert isinstance(seen, Observation)
        return seen


@pytest.fixture(scope="module")
def server() -> Iterator[Dns]:
    with Supervisor() as supervisor:
        yield Dns(supervisor)


@pytest.fixture
def resolver(server: Dns) -> Dns:
    """The server as the system's resolver."""
    server.authoritative = False
    server.zone.set_address(NAME, ["10.0.1.11"], ttl=5)
    server.zone.set_fault(NAME, None)
    return server


@pytest.fixture(params=["resolver", "zone's name server"])
def dns(resolver: Dns, request: pytest.FixtureRequest) -> Dns:
    """The server in either role: the endpoint behaves the same."""
    resolver.authoritative = request.param == "zone's name server"
    return resolver


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_adapter, "LOOKUP_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(authoritative, "TRY_SECONDS", PATIENCE_SECONDS)


def test_an_observation_has_the_addresses_the_ttl_and_the_moment(dns: Dns) -> None:
    before = SystemClock().now()

    seen = dns.answer()

    assert seen.name == NAME
    assert seen.addresses == {ip_address("10.0.1.11")}
    assert (seen.source, seen.ttl) == (dns.source, 5)
    assert before <= seen.at <= SystemClock().now()


def test_every_address_of_an_answer_is_observed(dns: Dns) -> None:
    dns.zone.set_address(NAME, ["10.0.1.11", "10.0.2.12"])

    assert dns.answer().addresses == {ip_address("10.0.1.11"), ip_address("10.0.2.12")}


def test_an_observation_is_one_query_and_nothing_is_cached(dns: Dns) -> None:
    endpoint = dns.endpoint()
    endpoint.observe()
    before = dns.queries
    dns.zone.set_address(NAME, ["10.0.2.12"])

    seen = endpoint.observe()

    assert isinstance(seen, Observation)
    assert seen.addresses == {ip_address("10.0.2.12")}
    assert dns.queries - before == 1


def test_an_alias_is_followed_and_the_shortest_ttl_of_the_chain_counts(dns: Dns) -> None:
    dns.zone.set_alias("db.corp.example", NAME, ttl=60)

    seen = dns.answer("db.corp.example")

    assert seen.addresses == {ip_address("10.0.1.11")}
    assert seen.ttl == 5


def test_a_truncated_answer_is_asked_for_again_over_tcp(dns: Dns) -> None:
    dns.zone.set_fault(NAME, Fault.TRUNCATE)

    assert dns.answer().addresses == {ip_address("10.0.1.11")}


def test_a_name_that_does_not_exist_is_said_to_be_missing(dns: Dns) -> None:
    seen = dns.failure("nobody.example.com")

    assert seen.failure is LookupFailure.NAME_DOES_NOT_EXIST
    assert "nobody.example.com does not exist" in seen.detail


def test_a_name_without_an_ipv4_address_has_no_address(dns: Dns) -> None:
    dns.zone.set_address(NAME, [])

    assert dns.failure().failure is LookupFailure.NO_ADDRESS


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.REFUSED])
def test_servers_that_fail_are_told_from_names_that_do_not_exist(dns: Dns, fault: Fault) -> None:
    dns.zone.set_fault(NAME, fault)

    seen = dns.failure()

    assert seen.failure is LookupFailure.SERVERS_FAILED
    assert fault.name in seen.detail


@pytest.mark.usefixtures("_impatient")
def test_silence_is_a_time_out(dns: Dns) -> None:
    dns.zone.set_fault(NAME, Fault.TIMEOUT)

    assert dns.failure().failure is LookupFailure.TIMED_OUT


def test_an_alias_that_leads_to_itself_is_a_failure(dns: Dns) -> None:
    dns.zone.set_alias("a.example.com", "b.example.com")
    dns.zone.set_alias("b.example.com", "a.example.com")

    assert dns.failure("a.example.com").failure is LookupFailure.SERVERS_FAILED


def test_a_name_that_dns_cannot_carry_is_a_bad_answer(dns: Dns) -> None:
    assert dns.failure("a" * 64 + ".example.com").failure is LookupFailure.BAD_ANSWER


def test_a_second_name_server_answers_when_the_first_does_not_run(resolver: Dns) -> None:
    nobody = free_port(HOST)

    seen = resolver.endpoint(NAME, nobody, resolver.port).observe()

    assert isinstance(seen, Observation)


def test_without_name_servers_the_systems_are_used(
    resolver: Dns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def system_configuration(it: Resolver, _path: object) -> None:
        it.nameservers = [Do53Nameserver(HOST, resolver.port)]

    monkeypatch.setattr(Resolver, "read_resolv_conf", system_configuration)

    assert isinstance(DnsResolver(now=SystemClock().now).resolve(NAME), Observation)


def test_the_clock_waits_until_a_moment_and_not_for_one_that_has_passed() -> None:
    clock = SystemClock()
    moment = clock.now() + 0.01

    clock.sleep_until(moment)
    clock.sleep_until(moment)

    assert clock.now() >= moment
