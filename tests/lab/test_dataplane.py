import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

import pytest

from lab.addresses import AddressPlan, Endpoint, Ports, free_port
from lab.dataplane import Routing
from lab.emulator.messages import DataPlane, RoutedConnection, RoutedListener, RoutedTarget
from lab.processes import ServerDiedError, Supervisor, accepts_connections

REPO = Path(__file__).parents[2]
HOST = "127.0.0.1"
LOAD_BALANCER = "arn:aws:elasticloadbalancing:us-east-1:111111111111:loadbalancer/net/road/1"
GROUP = "arn:aws:elasticloadbalancing:us-east-1:111111111111:targetgroup/road/1"
ENDPOINT = "vpce-0123456789abcdef0"
A, B, UNPLANNED = (Endpoint.parse(f"10.0.{n}.1{n}:5432") for n in (1, 2, 3))
DEADLINE = 20.0


def state(
    *targets: tuple[Endpoint, str],
    connection_termination: bool = True,
    unhealthy_termination: bool = True,
    group: str = GROUP,
    connection: str | None = None,
) -> DataPlane:
    return DataPlane(
        listeners=(
            RoutedListener(
                load_balancer_arn=LOAD_BALANCER,
                listener_port=5432,
                target_group_arn=group,
                targets=tuple(
                    RoutedTarget(address=target.address, port=target.port, state=health)
                    for target, health in targets
                ),
                connection_termination=connection_termination,
                unhealthy_termination=unhealthy_termination,
            ),
        ),
        connections=()
        if connection is None
        else (
            RoutedConnection(
                service_id="vpce-svc-1",
                service_name="com.amazonaws.vpce.us-east-1.vpce-svc-1",
                load_balancer_arns=(LOAD_BALANCER,),
                endpoint_id=ENDPOINT,
                consumer_account="222222222222",
                state=connection,
            ),
        ),
    )


def routing(of: DataPlane, endpoint_id: str | None = None) -> Routing:
    return Routing.derive(of, GROUP, endpoint_id)


@pytest.mark.parametrize("other", ["initial", "unhealthy", "draining", "unused", "unavailable"])
def test_new_flows_go_to_healthy_targets_only(other: str) -> None:
    assert routing(state((A, "healthy"), (B, other))).new_flows == {A}


def test_new_flows_go_to_unhealthy_targets_when_none_is_healthy() -> None:
    derived = routing(state((A, "unhealthy"), (B, "unhealthy"), (UNPLANNED, "initial")))

    assert derived.new_flows == {A, B}


@pytest.mark.parametrize("only", ["initial", "draining", "unused", "unavailable"])
def test_a_target_that_is_not_in_service_gets_no_flow_even_alone(only: str) -> None:
    assert routing(state((A, only))).new_flows == frozenset()


def test_another_target_group_is_not_followed() -> None:
    assert routing(state((A, "healthy"), group="arn:other")) == Routing()


def test_flows_of_a_deregistered_target_end_once_it_has_drained() -> None:
    before = routing(state((A, "healthy")))

    assert not routing(state((A, "draining"))).cuts(A, before)
    assert routing(state()).cuts(A, before)


def test_flows_of_a_deregistered_target_go_on_without_connection_termination() -> None:
    before = routing(state((A, "healthy")))

    assert not routing(state(connection_termination=False)).cuts(A, before)


def test_flows_of_another_target_go_on() -> None:
    before = routing(state((A, "healthy"), (B, "healthy")))

    assert not routing(state((B, "healthy"))).cuts(B, before)


def test_flows_end_when_their_target_becomes_unhealthy_and_only_then() -> None:
    healthy = routing(state((A, "healthy")))
    unhealthy = routing(state((A, "unhealthy")))

    assert unhealthy.cuts(A, healthy)
    assert not unhealthy.cuts(A, unhealthy)


def test_flows_of_an_unhealthy_target_go_on_without_its_termination() -> None:
    healthy = routing(state((A, "healthy")))

    assert not routing(state((A, "unhealthy"), unhealthy_termination=False)).cuts(A, healthy)


@pytest.mark.parametrize(
    ("connection", "carries"),
    [("available", True), ("pendingAcceptance", False), ("rejected", False), (None, False)],
)
def test_only_an_available_endpoint_connection_carries_traffic(
    connection: str | None, carries: bool
) -> None:
    derived = routing(state((A, "healthy"), connection=connection), ENDPOINT)

    assert (derived.new_flows == {A}) is carries
    assert derived.cuts(A, Routing()) is not carries


def test_the_connection_of_another_endpoint_carries_nothing() -> None:
    derived = routing(state((A, "healthy"), connection="available"), "vpce-other")

    assert derived == Routing()


class FakeEmulator:
    """Answers the one request of the data plane; its answer can be changed or withheld."""

    def __init__(self) -> None:
        self.state = state()
        self.is_broken = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(asdict(outer.state), default=str).encode()
                self.send_response(503 if outer.is_broken else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its word
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Stop answering for good. Harmless to repeat."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Backend:
    """Greets each client with its name, then sends back what it gets, until the end of file."""

    def __init__(self, name: bytes, host: str) -> None:
        self._name = name
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            client.settimeout(DEADLINE)
            try:
                client.sendall(self._name)
                while chunk := client.recv(4096):
                    client.sendall(chunk)
                client.sendall(b"bye")
            except OSError:
                return

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(DEADLINE)


@dataclass
class Road:
    """A running data plane between a fake emulator and two backends."""

    supervisor: Supervisor
    emulator: FakeEmulator
    port: int
    log: Path
    ports: Ports
    clients: ExitStack = field(default_factory=ExitStack)

    def follow(self, *targets: tuple[Endpoint, str]) -> None:
        """Change the target group and wait until the data plane follows."""
        self.emulator.state = state(*targets)
        wanted = {target for target, health in targets if health == "healthy"}
        self.supervisor.wait_until(
            lambda: self.routed() == wanted, what="the routing", timeout=DEADLINE
        )

    def connect(self) -> socket.socket:
        client = socket.create_connection((HOST, self.port), timeout=DEADLINE)
        return self.clients.enter_context(client)

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def names(self) -> list[str]:
        return [f"{event['event']} {event['address']}" for event in self.events()]

    def routed(self) -> set[Endpoint]:
        present: set[Endpoint] = set()
        for event in self.events():
            target = Endpoint(IPv4Address(str(event["address"])), int(str(event["port"])))
            if event["event"] == "target_in":
                present.add(target)
            elif event["event"] == "target_out":
                present.discard(target)
        return present


@contextmanager
def running_road(extra: Sequence[str] = ()) -> Iterator[Road]:
    with (
        Supervisor() as supervisor,
        FakeEmulator() as emulator,
        Backend(b"a", "127.0.0.2") as a,
        Backend(b"b", "127.0.0.3") as b,
    ):
        plan, log = supervisor.work_dir / "plan.json", supervisor.work_dir / "events.log"
        AddressPlan(
            {
                A: Endpoint(IPv4Address("127.0.0.2"), a.port),
                B: Endpoint(IPv4Address("127.0.0.3"), b.port),
            }
        ).save(plan)
        port = free_port(HOST)
        command = [sys.executable, "-m", "lab.dataplane", "--emulator", emulator.url]
        command += ["--address-plan", str(plan), "--listen", f"{HOST}:{port}", "--log", str(log)]
        command += ["--target-group-arn", GROUP, *extra]
        supervisor.start(
            "data plane", command, cwd=REPO, ready=lambda: accepts_connections(HOST, port)
        )
        road = Road(supervisor, emulator, port, log, Ports(plan))
        with road.clients:
            yield road


@pytest.fixture
def road() -> Iterator[Road]:
    with running_road() as running:
        yield running


def is_reset(client: socket.socket) -> bool:
    """A reset, not an orderly end: the client must not take what it sent for delivered."""
    try:
        while client.recv(4096):
            pass
    except ConnectionResetError:
        return True
    return False


def is_refused(road: Road) -> bool:
    """The reset may come before the client has even seen its connection open."""
    try:
        return is_reset(road.connect())
    except ConnectionResetError:
        return True


@pytest.mark.lab
def test_a_flow_reaches_the_healthy_target_and_ends_in_order(road: Road) -> None:
    road.follow((A, "healthy"))
    client = road.connect()

    client.sendall(b" hello")
    client.shutdown(socket.SHUT_WR)
    received = b""
    while chunk := client.recv(4096):
        received += chunk

    assert received == b"a hellobye"
    assert road.names() == ["target_in 10.0.1.11", "flow_opened 10.0.1.11"]


@pytest.mark.lab
def test_a_large_transfer_arrives_whole(road: Road) -> None:
    road.follow((A, "healthy"))
    client = road.connect()
    sent = bytes(range(256)) * 20_000

    def send() -> None:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    received = b""
    while chunk := client.recv(65536):
        received += chunk
    sender.join()

    assert received == b"a" + sent + b"bye"


@pytest.mark.lab
def test_flows_are_spread_over_healthy_targets(road: Road) -> None:
    road.follow((A, "healthy"), (B, "healthy"))

    assert {road.connect().recv(1) for _ in range(4)} == {b"a", b"b"}


@pytest.mark.lab
def test_a_deregistered_target_loses_its_flows_by_a_reset(road: Road) -> None:
    road.follow((A, "healthy"), (B, "healthy"))
    clients = {client.recv(1): client for client in (road.connect(), road.connect())}

    road.follow((B, "healthy"))

    assert is_reset(clients[b"a"])
    clients[b"b"].sendall(b"x")
    assert clients[b"b"].recv(1) == b"x"
    assert road.connect().recv(1) == b"b"
    assert "flow_cut 10.0.1.11" in road.names()
    assert "flow_cut 10.0.2.12" not in road.names()


@pytest.mark.lab
def test_a_target_that_became_unhealthy_loses_its_flows(road: Road) -> None:
    road.follow((A, "healthy"))
    client = road.connect()
    assert client.recv(1) == b"a"

    road.follow((A, "unhealthy"), (B, "healthy"))

    assert is_reset(client)


@pytest.mark.lab
def test_a_flow_over_the_only_and_unhealthy_target_stays_open(road: Road) -> None:
    road.emulator.state = state((A, "unhealthy"))
    road.supervisor.wait_until(lambda: road.routed() == {A}, what="fail-open", timeout=DEADLINE)
    client = road.connect()
    assert client.recv(1) == b"a"

    road.emulator.state = state((A, "unhealthy"), (B, "initial"))
    road.follow((A, "unhealthy"), (B, "healthy"))

    client.sendall(b"x")
    assert client.recv(1) == b"x"


@pytest.mark.lab
def test_a_connection_is_reset_when_there_is_no_target(road: Road) -> None:
    assert is_refused(road)


@pytest.mark.lab
def test_a_connection_to_an_address_outside_the_plan_is_reset(road: Road) -> None:
    road.follow((UNPLANNED, "healthy"))

    assert is_refused(road)
    assert "flow_opened 10.0.3.13" not in road.names()


@pytest.mark.lab
def test_a_connection_to_a_closed_port_is_reset_until_it_is_opened(road: Road) -> None:
    road.follow((A, "healthy"))

    road.ports.close(A)
    refused = is_refused(road)
    road.ports.open(A)
    client = road.connect()
    client.sendall(b" hello")

    assert refused
    assert client.recv(1) == b"a"


@pytest.mark.lab
@pytest.mark.parametrize("away", ["broken", "gone"])
def test_the_routing_outlives_an_emulator_that_is_away(road: Road, away: str) -> None:
    road.follow((A, "healthy"))
    client = road.connect()
    assert client.recv(1) == b"a"
    log = road.supervisor.work_dir / "logs" / "data-plane.log"

    if away == "broken":
        road.emulator.is_broken = True
    else:
        road.emulator.end()
    road.supervisor.wait_until(
        lambda: log.read_text().count("keeping the routing") >= 2,
        what="unanswered requests",
        timeout=DEADLINE,
    )

    client.sendall(b"x")
    assert client.recv(1) == b"x"
    assert road.connect().recv(1) == b"a"
    if away == "broken":
        road.emulator.is_broken = False
        road.follow((B, "healthy"))


@pytest.mark.lab
def test_no_flow_passes_before_the_endpoint_connection_is_accepted() -> None:
    with running_road(["--endpoint-id", ENDPOINT]) as road:
        road.emulator.state = state((A, "healthy"), connection="pendingAcceptance")
        assert is_refused(road)

        road.emulator.state = state((A, "healthy"), connection="available")
        road.supervisor.wait_until(lambda: road.routed() == {A}, what="the road", timeout=DEADLINE)

        assert road.connect().recv(1) == b"a"


@pytest.mark.lab
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda plan: plan.write_text("{}x"), "is not an address plan"),
        (lambda plan: plan.unlink(), "No such file"),
    ],
)
def test_a_missing_or_broken_address_plan_is_named(
    spoil: Callable[[Path], None], message: str
) -> None:
    def start() -> None:
        with Supervisor() as supervisor:
            plan = supervisor.work_dir / "plan.json"
            plan.touch()
            spoil(plan)
            command = [sys.executable, "-m", "lab.dataplane", "--emulator", "http://127.0.0.1:1"]
            command += ["--address-plan", str(plan), "--listen", f"{HOST}:{free_port(HOST)}"]
            command += ["--log", str(supervisor.work_dir / "log"), "--target-group-arn", GROUP]
            supervisor.start("data plane", command, cwd=REPO, ready=lambda: False)

    with pytest.raises(ServerDiedError, match=message):
        start()
