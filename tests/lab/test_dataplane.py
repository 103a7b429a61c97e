import json
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

import pytest

from lab.addresses import AddressPlan, Endpoint, free_port
from lab.dataplane import Routing
from lab.emulator.messages import DataPlane, RoutedConnection, RoutedListener, RoutedTarget
from lab.processes import ServerDiedError, Supervisor, accepts_connections

REPO = Path(__file__).parents[2]
HOST = "127.0.0.1"
LOAD_BALANCER = "arn:aws:elasticloadbalancing:us-east-1:111111111111:loadbalancer/net/orders/1"
GROUP = "arn:aws:elasticloadbalancing:us-east-1:111111111111:targetgroup/orders/1"
ENDPOINT = "vpce-0123456789abcdef0"
A, B, UNPLANNED = (Endpoint.parse(f"10.0.{n}.1{n}:5432") for n in (1, 2, 3))
DEADLINE = 200.0


def state(
    *targets: tuple[Endpoint, str],
    blocked: Collection[Endpoint] = (),
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
                    RoutedTarget(
                        address=target.address,
                        port=target.port,
                        state=health,
                        allowed=target not in blocked,
                    )
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
def test_a_single_target_that_is_not_in_service_gets_no_flow(only: str) -> None:
    assert routing(state((A, only))).new_flows == frozenset()


def test_ignores_another_target_group() -> None:
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


def test_outbound_rules_block_a_flow_but_do_not_choose_its_target() -> None:
    derived = routing(state((A, "healthy"), (B, "healthy"), blocked=[B]))
    fails_open = routing(state((A, "unhealthy"), (B, "unhealthy"), blocked=[B]))

    for routed in (derived, fails_open):
        assert routed.new_flows == {A, B}
        assert routed.blocked == {B}


def test_flows_of_a_closed_target_end_when_it_becomes_unhealthy() -> None:
    before = routing(state((A, "healthy")))
    closed = routing(state((A, "healthy"), blocked=[A]))

    assert not closed.cuts(A, before)
    assert routing(state((A, "unhealthy"), blocked=[A])).cuts(A, closed)


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
    """Replies to the one request of the data plane; tests change or stop the replies."""

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

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
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
        """Stop serving; may be repeated."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Backend:
    """Sends its name to each client, then echoes until the end of file."""

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
class ConnectionPath:
    """A running data plane between a fake emulator and two backends."""

    supervisor: Supervisor
    emulator: FakeEmulator
    port: int
    log: Path
    clients: ExitStack = field(default_factory=ExitStack)

    def follow(self, *targets: tuple[Endpoint, str], blocked: Collection[Endpoint] = ()) -> None:
        """Change the target group and wait until the data plane follows."""
        self.emulator.state = state(*targets, blocked=blocked)
        expected = {target for target, health in targets if health == "healthy"}
        self.supervisor.wait_until(
            lambda: self.routed() == expected, what="the routing", timeout=DEADLINE
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


@pytest.fixture
def path() -> Iterator[ConnectionPath]:
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
        command += ["--target-group-arn", GROUP]
        supervisor.start(
            "data plane", command, cwd=REPO, ready=lambda: accepts_connections(HOST, port)
        )
        path = ConnectionPath(supervisor, emulator, port, log)
        with path.clients:
            yield path


def is_reset(client: socket.socket) -> bool:
    """Return whether the connection ends with a reset, so that the client knows of the loss."""
    try:
        while client.recv(4096):
            pass
    except ConnectionResetError:
        return True
    return False


def is_refused(path: ConnectionPath) -> bool:
    """Return whether a new connection is reset, perhaps before it is open."""
    try:
        return is_reset(path.connect())
    except ConnectionResetError:
        return True


@pytest.mark.lab
def test_a_flow_reaches_the_healthy_target_and_ends_orderly(path: ConnectionPath) -> None:
    path.follow((A, "healthy"))
    client = path.connect()

    client.sendall(b" hello")
    client.shutdown(socket.SHUT_WR)
    received = b""
    while chunk := client.recv(4096):
        received += chunk

    assert received == b"a hellobye"
    assert path.names() == ["target_in 10.0.1.11", "flow_opened 10.0.1.11"]


@pytest.mark.lab
def test_a_large_transfer_arrives_completely(path: ConnectionPath) -> None:
    path.follow((A, "healthy"))
    client = path.connect()
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
def test_a_deregistered_target_loses_its_flows_by_a_reset(path: ConnectionPath) -> None:
    path.follow((A, "healthy"), (B, "healthy"))
    clients = {client.recv(1): client for client in (path.connect(), path.connect())}

    path.follow((B, "healthy"))

    assert is_reset(clients[b"a"])
    clients[b"b"].sendall(b"x")
    assert clients[b"b"].recv(1) == b"x"
    assert path.connect().recv(1) == b"b"
    assert "flow_cut 10.0.1.11" in path.names()
    assert "flow_cut 10.0.2.12" not in path.names()


@pytest.mark.lab
def test_a_blocked_target_gets_no_new_flow_and_keeps_its_old_ones(path: ConnectionPath) -> None:
    path.follow((A, "healthy"))
    old = path.connect()
    assert old.recv(1) == b"a"
    # The data plane reads the whole state at once, so B shows that A is blocked too.
    path.follow((A, "healthy"), (B, "healthy"), blocked=[A, B])

    new = path.connect()
    new.settimeout(0.5)
    with pytest.raises(TimeoutError):
        new.recv(1)

    old.sendall(b"x")
    assert old.recv(1) == b"x"
    assert path.names().count("flow_opened 10.0.1.11") == 1
    assert [name for name in path.names() if name.startswith("flow_blocked")]
    path.follow((B, "healthy"))
    assert is_reset(old)


@pytest.mark.lab
def test_a_connection_is_reset_when_there_is_no_target(path: ConnectionPath) -> None:
    assert is_refused(path)


@pytest.mark.lab
def test_a_connection_to_an_address_outside_the_plan_is_reset(path: ConnectionPath) -> None:
    path.follow((UNPLANNED, "healthy"))

    assert is_refused(path)
    assert "flow_opened 10.0.3.13" not in path.names()


@pytest.mark.lab
@pytest.mark.parametrize("state_", ["broken", "ended"])
def test_keeps_the_routing_without_a_reply_of_the_emulator(
    path: ConnectionPath, state_: str
) -> None:
    path.follow((A, "healthy"))
    client = path.connect()
    assert client.recv(1) == b"a"
    log = path.supervisor.work_dir / "logs" / "data-plane.log"

    if state_ == "broken":
        path.emulator.is_broken = True
    else:
        path.emulator.end()
    path.supervisor.wait_until(
        lambda: log.read_text().count("keeping the routing") >= 2,
        what="failed requests",
        timeout=DEADLINE,
    )

    client.sendall(b"x")
    assert client.recv(1) == b"x"
    assert path.connect().recv(1) == b"a"
    if state_ == "broken":
        path.emulator.is_broken = False
        path.follow((B, "healthy"))


@pytest.mark.lab
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda plan: plan.write_text("{}x"), "is not an address plan"),
        (lambda plan: plan.unlink(), "No such file"),
    ],
)
def test_reports_a_missing_or_invalid_address_plan(
    damage: Callable[[Path], None], message: str
) -> None:
    def start() -> None:
        with Supervisor() as supervisor:
            plan = supervisor.work_dir / "plan.json"
            plan.touch()
            damage(plan)
            command = [sys.executable, "-m", "lab.dataplane", "--emulator", "http://127.0.0.1:1"]
            command += ["--address-plan", str(plan), "--listen", f"{HOST}:{free_port(HOST)}"]
            command += ["--log", str(supervisor.work_dir / "log"), "--target-group-arn", GROUP]
            supervisor.start("data plane", command, cwd=REPO, ready=lambda: False)

    with pytest.raises(ServerDiedError, match=message):
        start()
