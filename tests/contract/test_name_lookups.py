"""Concurrent look-ups, over the lab's DNS server and over a resolver that the test controls."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address

import pytest

from lab.processes import Supervisor
from target_sync.clock import SystemClock
from target_sync.endpoints.cluster import ClusterReadersEndpoint, RdsCluster
from target_sync.fleet import name_lookups
from target_sync.fleet.model import EndpointKey
from target_sync.fleet.name_lookups import NameLookups
from target_sync.fleet.ports import NameLookupsPort
from target_sync.model import DatabaseKind, FailedObservation, LookupFailure, Observation
from target_sync.ports import Endpoint
from tests.lab.emulator_process import wait_until
from tests.support.clock import FakeClock
from tests.support.databases import CLUSTER, READER_NAME, FakeDns, FakeRds, instance_name
from tests.support.fleet import FakeNameLookups
from tests.support.name_server import RunningNameServer

INSTANCE, HOSTNAME = DatabaseKind.RDS_INSTANCE, DatabaseKind.HOSTNAME
READERS = DatabaseKind.RDS_CLUSTER_READERS
#: Longer than any look-up that is not held.
PATIENCE = 30.0


def no_readers(name: str) -> Endpoint:
    raise AssertionError(f"{name} is no name of readers")


def addresses(observation: Observation | FailedObservation) -> set[str]:
    assert isinstance(observation, Observation), observation
    return set(map(str, observation.addresses))


# --------------------------------------------------------------------------- over a real DNS server


@pytest.fixture(scope="module")
def server() -> Iterator[RunningNameServer]:
    with Supervisor() as supervisor:
        yield RunningNameServer(supervisor)


@pytest.fixture(params=["fake", "real"])
def lookups(request: pytest.FixtureRequest) -> tuple[NameLookupsPort, Callable[[str, str], object]]:
    """The port, and the function that sets the address of a name."""
    if request.param == "fake":
        dns = FakeDns(FakeClock())
        return FakeNameLookups(dns), dns.set_addresses
    server = request.getfixturevalue("server")
    now = SystemClock().now
    lookups = NameLookups(resolver=server.resolver(now), readers=no_readers, now=now)
    return lookups, lambda name, address: server.zone.set_address(name, [address])


def test_looks_up_each_of_many_names(
    lookups: tuple[NameLookupsPort, Callable[[str, str], object]],
) -> None:
    port, says = lookups
    expected = {
        (INSTANCE, f"db-{number}.example.com"): str(IPv4Address("10.0.0.0") + number)
        for number in range(1, 201)
    }
    for (_, name), address in expected.items():
        says(name, address)

    observations = port.look_up(list(expected))

    assert {it: addresses(observation) for it, observation in observations.items()} == {
        it: {address} for it, address in expected.items()
    }


def test_a_name_that_does_not_exist_affects_no_other(
    lookups: tuple[NameLookupsPort, Callable[[str, str], object]],
) -> None:
    port, says = lookups
    says("there.example.com", "10.0.1.11")
    there, gone = (HOSTNAME, "there.example.com"), (HOSTNAME, "gone.example.com")

    observations = port.look_up([gone, there])

    assert addresses(observations[there]) == {"10.0.1.11"}
    failed = observations[gone]
    assert isinstance(failed, FailedObservation)
    assert failed.failure is LookupFailure.NAME_DOES_NOT_EXIST


def test_looks_up_nothing_without_names(
    lookups: tuple[NameLookupsPort, Callable[[str, str], object]],
) -> None:
    assert lookups[0].look_up([]) == {}


# ----------------------------------------------------------------------- over a controlled resolver


@dataclass
class HeldResolver:
    """Resolves every name to 10.0.1.11; some only when the test releases them.

    Attributes:
        asked: The names in the order in which their look-ups began.
    """

    held: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)

    def resolve(self, name: str) -> Observation:
        self.asked.append(name)
        if name in self.held:
            assert self.let_go.wait(PATIENCE)
        return Observation(
            name=name,
            addresses=frozenset({ip_address("10.0.1.11")}),
            source="dns",
            ttl=5,
            at=0.0,
        )


@pytest.fixture
def held() -> Iterator[HeldResolver]:
    resolver = HeldResolver(frozenset({"a"}))
    yield resolver
    resolver.let_go.set()


def lookups_over(
    resolver: object, *, seconds: float = PATIENCE, readers: Callable[[str], Endpoint] = no_readers
) -> NameLookups:
    return NameLookups(resolver=resolver, readers=readers, now=lambda: 77.0, seconds=seconds)  # type: ignore[arg-type]


def hostnames(*lookups: str) -> list[EndpointKey]:
    return [(HOSTNAME, name) for name in lookups]


def test_looks_up_a_name_once_for_all_groups() -> None:
    resolver = HeldResolver()
    endpoint_keys = [
        (INSTANCE, "a"),
        (HOSTNAME, "a"),
        (DatabaseKind.RDS_PROXY, "a"),
        (INSTANCE, "a"),
    ]

    observations = lookups_over(resolver).look_up(endpoint_keys)

    assert resolver.asked == ["a"]
    assert set(observations) == set(endpoint_keys)
    assert all(addresses(observation) == {"10.0.1.11"} for observation in observations.values())


def test_looks_up_at_most_32_names_at_the_same_time() -> None:
    together = threading.Barrier(32)
    running = threading.Semaphore(32)

    class Resolver(HeldResolver):
        def resolve(self, name: str) -> Observation:
            assert running.acquire(blocking=False)
            together.wait(PATIENCE)
            running.release()
            return super().resolve(name)

    lookups = [f"name-{number}" for number in range(64)]

    observations = lookups_over(Resolver()).look_up(hostnames(*lookups))

    assert {addresses(observation).pop() for observation in observations.values()} == {"10.0.1.11"}


def test_a_name_without_a_response_delays_no_other(held: HeldResolver) -> None:
    observations = lookups_over(held, seconds=1.0).look_up(hostnames("a", "b", "c"))

    assert (
        addresses(observations[HOSTNAME, "b"])
        == addresses(observations[HOSTNAME, "c"])
        == {"10.0.1.11"}
    )
    failed = observations[HOSTNAME, "a"]
    assert isinstance(failed, FailedObservation)
    assert (failed.name, failed.failure, failed.at) == ("a", LookupFailure.TIMED_OUT, 77.0)
    assert "look-up of a did not end within the 1 s" in failed.detail


def test_looks_up_slow_names_last_until_they_respond(
    held: HeldResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups = lookups_over(held, seconds=1.0)
    lookups.look_up(hostnames("a", "b", "c"))
    held.let_go.set()
    # One thread, so the look-ups start in the sequence of the keys.
    monkeypatch.setattr(name_lookups, "THREADS", 1)
    monkeypatch.setattr(lookups, "seconds", PATIENCE)

    held.asked.clear()
    lookups.look_up(hostnames("a", "b", "c"))
    assert held.asked == ["b", "c", "a"]

    held.asked.clear()
    lookups.look_up(hostnames("c", "b", "a"))
    assert held.asked == ["a", "b", "c"]


def test_a_name_that_does_not_exist_delays_no_other_and_keeps_its_position(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(name_lookups, "THREADS", 1)
    dns = FakeDns(FakeClock())
    dns.set_addresses("b", "10.0.1.11")
    lookups = lookups_over(dns)
    lookups.look_up(hostnames("b", "a"))
    lookups.look_up(hostnames("b", "a"))

    assert dns.queries == ["a", "b", "a", "b"]


def test_a_look_up_that_has_not_started_in_time_never_starts(
    held: HeldResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name_lookups, "THREADS", 1)
    before = set(threading.enumerate())

    observations = lookups_over(held, seconds=0.2).look_up(hostnames("a", "b"))

    assert isinstance(observations[HOSTNAME, "b"], FailedObservation)
    held.let_go.set()
    wait_until(lambda: set(threading.enumerate()) <= before)
    assert held.asked == ["a"]


def test_raises_an_unexpected_error() -> None:
    class Broken:
        def resolve(self, name: str) -> Observation:
            raise ZeroDivisionError(name)

    with pytest.raises(ZeroDivisionError):
        lookups_over(Broken()).look_up(hostnames("a"))


def test_looks_up_the_readers_of_a_cluster_by_its_members() -> None:
    clock = FakeClock()
    dns = FakeDns(clock)
    for number, member in enumerate(("orders-1", "orders-2", "orders-3")):
        dns.set_addresses(instance_name(member), f"10.0.1.{number}")
    rds = FakeRds("orders-1", "orders-2", "orders-3")
    makers = list[int]()

    def readers(name: str) -> Endpoint:
        makers.append(threading.get_ident())
        cluster = RdsCluster(rds, CLUSTER)  # type: ignore[arg-type]
        return ClusterReadersEndpoint(name, cluster, dns, clock.now)

    lookups = NameLookups(resolver=dns, readers=readers, now=clock.now)
    endpoint_key = (READERS, READER_NAME)

    observations = lookups.look_up([endpoint_key, endpoint_key])

    assert addresses(observations[endpoint_key]) == {"10.0.1.1", "10.0.1.2"}
    assert READER_NAME not in dns.queries
    assert rds.calls["DescribeDBClusters"] == 1
    assert makers == [threading.get_ident()]


def test_a_shared_client_has_a_connection_for_each_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")

    config = name_lookups.make_shared_client("rds").meta.config

    assert (config.max_pool_connections, config.read_timeout) == (32, 5)
