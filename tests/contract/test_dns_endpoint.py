"""The DNS endpoint against a real server and real packets: answers, TTLs and failures."""

from collections.abc import Iterator
from ipaddress import ip_address
from types import SimpleNamespace

import pytest
from dns.exception import Timeout
from dns.nameserver import Do53Nameserver
from dns.resolver import Resolver

from lab.addresses import free_port
from lab.dns_server import Fault
from lab.processes import Supervisor
from target_sync.clock import SystemClock
from target_sync.endpoints import authoritative
from target_sync.endpoints import dns as dns_adapter
from target_sync.endpoints.authoritative import AuthoritativeResolver
from target_sync.endpoints.dns import DnsEndpoint, DnsResolver, NameServer
from target_sync.model import Alias, FailedObservation, LookupFailure, Observation
from tests.support.name_server import HOST, RunningNameServer

ZONE = "eu-west-1.rds.amazonaws.com"
NAME = f"orders.abc123.{ZONE}"
NAME_SERVER = "ns1.example.com"


#: How long a test waits for a server that does not answer.
PATIENCE_SECONDS = 0.2


class Dns(RunningNameServer):
    """A running DNS server, its zones, and an endpoint that queries it in one of two ways."""

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
        observed = self.endpoint(name).observe()
        assert isinstance(observed, FailedObservation)
        return observed

    def answer(self, name: str = NAME) -> Observation:
        observed = self.endpoint(name).observe()
        assert isinstance(observed, Observation)
        return observed


@pytest.fixture(scope="module")
def server() -> Iterator[Dns]:
    with Supervisor() as supervisor:
        yield Dns(supervisor)


@pytest.fixture
def resolver(server: Dns) -> Dns:
    """Return the server as the resolver of the system."""
    server.authoritative = False
    server.zone.set_address(NAME, ["10.0.1.11"], ttl=5)
    server.zone.set_fault(NAME, None)
    return server


@pytest.fixture(params=["resolver", "zone's name server"])
def dns(resolver: Dns, request: pytest.FixtureRequest) -> Dns:
    """Return the server in each role, because the endpoint behaves the same."""
    resolver.authoritative = request.param == "zone's name server"
    return resolver


@pytest.fixture
def _short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_adapter, "LOOKUP_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(authoritative, "TRY_SECONDS", PATIENCE_SECONDS)


def test_an_observation_has_the_addresses_the_ttl_and_the_moment(dns: Dns) -> None:
    before = SystemClock().now()

    observed = dns.answer()

    assert observed.name == NAME
    assert observed.addresses == {ip_address("10.0.1.11")}
    assert (observed.source, observed.ttl) == (dns.source, 5)
    assert before <= observed.at <= SystemClock().now()


def test_an_observation_has_every_address_of_the_answer(dns: Dns) -> None:
    dns.zone.set_address(NAME, ["10.0.1.11", "10.0.2.12"])

    assert dns.answer().addresses == {ip_address("10.0.1.11"), ip_address("10.0.2.12")}


def test_an_observation_makes_one_query_and_caches_nothing(dns: Dns) -> None:
    endpoint = dns.endpoint()
    endpoint.observe()
    before = dns.queries
    dns.zone.set_address(NAME, ["10.0.2.12"])

    observed = endpoint.observe()

    assert isinstance(observed, Observation)
    assert observed.addresses == {ip_address("10.0.2.12")}
    assert dns.queries - before == 1


def test_an_observation_follows_aliases_and_has_each_with_its_ttl(dns: Dns) -> None:
    cluster = f"orders.cluster-abc123.{ZONE}"
    dns.zone.set_alias(cluster, NAME, ttl=3)
    dns.zone.set_alias("DB.corp.example", cluster, ttl=60)

    observed = dns.answer("db.corp.example")

    assert observed.aliases == (Alias("db.corp.example", cluster, 60), Alias(cluster, NAME, 3))
    assert observed.canonical_name == NAME
    assert observed.addresses == {ip_address("10.0.1.11")}
    assert observed.ttl == 5
    assert observed.longest_ttl == 60


def test_a_name_that_is_no_alias_is_its_own_canonical_name(dns: Dns) -> None:
    assert (dns.answer().aliases, dns.answer().canonical_name) == ((), NAME)


def test_a_truncated_answer_is_repeated_over_tcp(dns: Dns) -> None:
    dns.zone.set_fault(NAME, Fault.TRUNCATE)

    assert dns.answer().addresses == {ip_address("10.0.1.11")}


def test_a_missing_name_is_a_failure(dns: Dns) -> None:
    observed = dns.failure("missing.example.com")

    assert observed.failure is LookupFailure.NAME_DOES_NOT_EXIST
    assert "missing.example.com does not exist" in observed.detail


def test_a_name_without_an_ipv4_address_has_no_address(dns: Dns) -> None:
    dns.zone.set_address(NAME, [])

    assert dns.failure().failure is LookupFailure.NO_ADDRESS


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.REFUSED])
def test_a_failing_server_is_not_a_missing_name(dns: Dns, fault: Fault) -> None:
    dns.zone.set_fault(NAME, fault)

    observed = dns.failure()

    assert observed.failure is LookupFailure.SERVERS_FAILED
    assert fault.name in observed.detail


@pytest.mark.usefixtures("_short_timeouts")
def test_a_silent_server_is_a_time_out(dns: Dns) -> None:
    dns.zone.set_fault(NAME, Fault.TIMEOUT)

    assert dns.failure().failure is LookupFailure.TIMED_OUT


def test_an_alias_loop_is_a_failure(dns: Dns) -> None:
    dns.zone.set_alias("a.example.com", "b.example.com")
    dns.zone.set_alias("b.example.com", "a.example.com")

    assert dns.failure("a.example.com").failure is LookupFailure.SERVERS_FAILED


def test_an_invalid_dns_name_is_a_bad_answer(dns: Dns) -> None:
    assert dns.failure("a" * 64 + ".example.com").failure is LookupFailure.BAD_ANSWER


def test_a_second_name_server_answers_if_the_first_does_not_run(resolver: Dns) -> None:
    unused = free_port(HOST)

    observed = resolver.endpoint(NAME, unused, resolver.port).observe()

    assert isinstance(observed, Observation)


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_every_name_server_gets_a_query_although_the_ones_before_it_are_silent(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, queried = [0.0], list[int]()

    def time_out(server: Do53Nameserver, _: object, timeout: float, **_options: object) -> None:
        queried.append(server.port)
        now[0] += max(timeout, 0.001)
        raise Timeout

    fake_time = SimpleNamespace(time=lambda: now[0], sleep=lambda _seconds: None)
    monkeypatch.setattr("dns.resolver.time", fake_time)
    monkeypatch.setattr(Do53Nameserver, "query", time_out)
    ports = range(5301, 5301 + count)
    resolver = DnsResolver(
        now=lambda: now[0], name_servers=[NameServer(HOST, port) for port in ports]
    )

    assert isinstance(resolver.resolve(NAME), FailedObservation)
    assert set(queried) == set(ports)
    assert now[0] <= dns_adapter.LOOKUP_SECONDS + 0.001


def test_without_name_servers_the_systems_are_used(
    resolver: Dns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def system_configuration(it: Resolver, _path: object) -> None:
        it.nameservers = [Do53Nameserver(HOST, resolver.port)]

    monkeypatch.setattr(Resolver, "read_resolv_conf", system_configuration)

    assert isinstance(DnsResolver(now=SystemClock().now).resolve(NAME), Observation)


def test_the_clock_waits_for_a_future_time_only() -> None:
    clock = SystemClock()
    moment = clock.now() + 0.01

    clock.sleep_until(moment)
    clock.sleep_until(moment)

    assert clock.now() >= moment
