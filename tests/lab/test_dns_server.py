import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.resolver
import pytest

from lab.addresses import free_port
from lab.dns_server import Fault, Responder, Zone, ZoneError, query_count
from lab.processes import ServerDiedError, Supervisor, accepts_connections

HOST = "127.0.0.1"
REPO = Path(__file__).parents[2]
NAME = "db.abcdefghijkl.us-east-1.rds.amazonaws.com"


@dataclass
class Asker:
    """Queries a Responder without a socket."""

    zone: Zone
    log: Path
    ask_wire: Callable[[bytes, str], bytes | None]

    def ask(
        self, name: str, kind: str = "A", transport: str = "udp", *, edns: bool = True
    ) -> dns.message.Message | None:
        query = dns.message.make_query(name, kind, use_edns=0 if edns else -1)
        answer = self.ask_wire(query.to_wire(), transport)
        return None if answer is None else dns.message.from_wire(answer)

    def answers(self, name: str, kind: str = "A") -> list[str]:
        message = self.ask(name, kind)
        assert message is not None
        # The library shuffles the records, like real servers.
        return [
            line.lower()
            for rrset in message.answer
            for line in sorted(rrset.to_text().splitlines())
        ]

    def rcode(self, name: str, kind: str = "A") -> str:
        message = self.ask(name, kind)
        assert message is not None
        return dns.rcode.to_text(message.rcode())


@pytest.fixture
def asker(tmp_path: Path) -> Iterator[Asker]:
    zone, log = Zone(tmp_path / "zone.json"), tmp_path / "queries.log"
    with log.open("a", buffering=1) as file:
        yield Asker(zone, log, Responder(tmp_path / "zone.json", file).respond)


def test_distinguishes_names_and_ignores_case(asker: Asker) -> None:
    asker.zone.set_address("One.example", ["10.0.1.1"])
    asker.zone.set_address("two.example.", ["10.0.1.2"])

    assert asker.answers("ONE.example") == ["one.example. 5 in a 10.0.1.1"]
    assert asker.answers("two.EXAMPLE") == ["two.example. 5 in a 10.0.1.2"]


def test_an_alias_of_an_unknown_name_is_nxdomain(asker: Asker) -> None:
    asker.zone.set_alias("db.internal", "gone.example")

    assert asker.answers("db.internal") == ["db.internal. 5 in cname gone.example."]
    assert asker.rcode("db.internal") == "NXDOMAIN"


def test_a_fault_remains_after_a_flip_and_behind_an_alias(asker: Asker) -> None:
    asker.zone.set_address(NAME, ["10.0.1.11"])
    asker.zone.set_alias("db.internal", NAME)
    asker.zone.set_fault(NAME, Fault.SERVFAIL)
    asker.zone.set_address(NAME, ["10.0.2.12"])

    assert asker.rcode("db.internal") == "SERVFAIL"


@pytest.mark.parametrize(("edns", "fits"), [(True, 70), (False, 25)])
def test_an_answer_too_long_for_the_client_is_truncated(
    asker: Asker, edns: bool, fits: int
) -> None:
    def is_truncated(count: int) -> bool:
        asker.zone.set_address(NAME, [f"10.0.3.{n}" for n in range(count)])
        message = asker.ask(NAME, edns=edns)
        assert message is not None
        return bool(message.flags & dns.flags.TC)

    assert not is_truncated(fits)
    assert is_truncated(3 * fits)


def test_every_query_is_logged_once(asker: Asker) -> None:
    asker.zone.set_address(NAME, ["10.0.1.11"])
    asker.ask(NAME)
    asker.ask(NAME, "AAAA", "tcp")
    asker.ask("unknown.example")

    fields = [line.split() for line in asker.log.read_text().splitlines()]

    assert [rest for _, *rest in fields] == [
        [NAME, "A", "udp"],
        [NAME, "AAAA", "tcp"],
        ["unknown.example", "A", "udp"],
    ]
    assert all(float(at) > 1e9 for at, *_ in fields)
    assert query_count(asker.log) == 3
    assert query_count(asker.log, NAME.upper()) == 2
    first, *_, last = (float(at) for at, *_ in fields)
    assert query_count(asker.log, since=first, until=last + 1) == 3
    assert query_count(asker.log, until=first) == query_count(asker.log, since=last + 1) == 0


def test_rejects_or_ignores_another_message(asker: Asker) -> None:
    update = dns.message.make_query(NAME, "A")
    update.set_opcode(dns.opcode.NOTIFY)
    answer = asker.ask_wire(update.to_wire(), "udp")

    assert answer is not None
    assert dns.message.from_wire(answer).rcode() == dns.rcode.NOTIMP
    assert asker.ask_wire(b"\0\1", "udp") is None


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        '{"a": {"type": "MX", "values": []}}',
        '{"a": {"type": "A", "values": "10.0.1.11"}}',
        '{"a": {"type": "A", "values": ["ten"]}}',
        '{"a": {"type": "CNAME", "values": []}}',
        '{"a": {"type": "A", "values": [], "fault": "tired"}}',
        '{"a": {"values": []}}',
    ],
)
def test_rejects_a_file_without_a_zone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "zone.json"
    path.write_text(text)

    with pytest.raises(ZoneError, match=r"zone\.json is not a zone"):
        Zone(path).set_address(NAME, ["10.0.1.11"])


def test_an_existing_zone_is_kept(tmp_path: Path, asker: Asker) -> None:
    asker.zone.set_address(NAME, ["10.0.1.11"])

    Zone(tmp_path / "zone.json").set_address("other.example", ["10.0.1.12"])

    assert asker.rcode(NAME) == "NOERROR"


ZONE = "us-east-1.rds.amazonaws.com"
NAME_SERVER = f"ns1.{ZONE}"


@pytest.fixture
def zoned(asker: Asker) -> Asker:
    """A server that is authoritative for one zone."""
    asker.zone.set_name_servers(ZONE, [NAME_SERVER], ttl=60)
    asker.zone.set_address(NAME, ["10.0.1.11"])
    return asker


def authority(message: dns.message.Message | None) -> list[str]:
    assert message is not None
    return [rrset.to_text() for rrset in message.authority]


def test_a_zone_has_ns_and_soa_records(zoned: Asker) -> None:
    start = f"{ZONE}. 60 in soa {NAME_SERVER}. hostmaster.{ZONE}. 1 7200 900 1209600 60"

    assert zoned.answers(ZONE, "NS") == [f"{ZONE}. 60 in ns {NAME_SERVER}."]
    assert zoned.answers(ZONE, "SOA") == [start]
    assert (zoned.answers(ZONE), zoned.rcode(ZONE)) == ([], "NOERROR")


@pytest.mark.parametrize("kind", ["A", "SOA", "NS"])
@pytest.mark.parametrize("name", ["empty", "unknown"])
def test_an_answer_without_records_has_the_soa_of_its_zone(
    zoned: Asker, name: str, kind: str
) -> None:
    zoned.zone.set_address(f"empty.{ZONE}", [])

    message = zoned.ask(f"{name}.{ZONE}", kind)

    assert [line.split()[:4] for line in authority(message)] == [[f"{ZONE}.", "60", "IN", "SOA"]]
    assert zoned.answers(f"{name}.{ZONE}", kind) == []


def test_an_answer_with_records_has_no_soa(zoned: Asker) -> None:
    assert authority(zoned.ask(NAME)) == []


@dataclass
class Running:
    zone: Zone
    zone_file: Path
    port: int
    supervisor: Supervisor

    def resolver(self) -> dns.resolver.Resolver:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = [HOST]
        resolver.port = self.port
        resolver.lifetime = 60.0
        return resolver


def start_server(supervisor: Supervisor) -> Running:
    zone_file, port = supervisor.work_dir / "zone.json", free_port(HOST)
    zone = Zone(zone_file)
    command = [sys.executable, "-m", "lab.dns_server", "--host", HOST, "--port", str(port)]
    command += ["--zone", str(zone_file), "--query-log", str(supervisor.work_dir / "queries.log")]
    supervisor.start("DNS server", command, cwd=REPO, ready=lambda: accepts_connections(HOST, port))
    return Running(zone, zone_file, port, supervisor)


@pytest.fixture
def running() -> Iterator[Running]:
    with Supervisor() as supervisor:
        yield start_server(supervisor)


@pytest.mark.lab
def test_survives_a_client_that_disconnects_during_a_query(running: Running) -> None:
    running.zone.set_address(NAME, ["10.0.1.11"])
    with socket.create_connection((HOST, running.port)) as client:
        client.sendall(b"\0\xff half")

    assert running.resolver().resolve(NAME, "A", tcp=True)


@pytest.mark.lab
def test_an_invalid_zone_file_ends_the_server_with_an_error() -> None:
    def break_the_zone() -> None:
        with Supervisor() as supervisor:
            running = start_server(supervisor)
            running.zone_file.write_text("not a zone, and longer than the empty one")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                query = dns.message.make_query(NAME, "A").to_wire()
                client.sendto(query, (HOST, running.port))
            supervisor.wait_until(lambda: False, what="the end", timeout=200.0)

    with pytest.raises(ServerDiedError, match=r"DNS server ended(.|\n)*is not a zone"):
        break_the_zone()
