"""A failover of an RDS instance: it moves the database, then its name, and emits events.

The order is as measured on Multi-AZ PostgreSQL instances: event "started", the name moves, event
"restarted", and some seconds later event "completed".

The address plan closes the port of the standby until its promotion, because PostgreSQL's own
standby accepts connections.
"""

import json
import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from lab.addresses import Endpoint, Ports
from lab.aws import Database
from lab.dns_server import Zone
from lab.emulator.client import EmulatorAdmin
from lab.emulator.messages import RdsEvent, RdsStatus
from lab.loopback_server import LoopbackServer
from lab.postgres import PostgresSet

#: Seconds from the restarted server to the event "completed". AWS: 3 to 42 after the name moved.
_COMPLETED_AFTER = 1.0
#: Events by their ID, category and message.
_STARTED = ("RDS-EVENT-0013", "failover", "Multi-AZ instance failover started.")
_RESTARTED = ("RDS-EVENT-0006", "availability", "DB instance restarted")
_COMPLETED = ("RDS-EVENT-0049", "failover", "Multi-AZ instance failover completed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """The times of one failover, in epoch seconds.

    Attributes:
        old: The old primary's address and port in the VPC.
        new: The new primary's.
        began_at: When the old primary was killed, or the failover was requested.
        promoted_at: When the new primary began to accept writes.
        flipped_at: When the endpoint's name moved.
        events: When RDS emitted each event, by event ID.
    """

    old: Endpoint
    new: Endpoint
    began_at: float
    promoted_at: float
    flipped_at: float
    events: Mapping[str, float]


class FailoverHook(LoopbackServer):
    """Receives the failovers that the RDS API requests; the emulator posts them to its `url`."""

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
        super().__init__(_hook_handler(self._requests.put))

    def next_request(self) -> Mapping[str, str] | None:
        """Return the next request as the emulator sent it; None without a request."""
        try:
            return self._requests.get_nowait()
        except queue.Empty:
            return None


def _hook_handler(take: Callable[[Mapping[str, str]], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            take(json.loads(body))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing: standard error belongs to the demo."""

    return Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class RdsControlPlane:
    """The RDS control plane of the lab's one instance, whose name it points at the primary.

    Attributes:
        database: The instance in the API.
        servers: Its servers; a failover promotes the first standby.
        zone: The zone of its endpoint's name.
        admin: Emits events.
        ports: Opens and closes the ports of the servers' addresses.
        addresses: The servers' addresses in the VPC, by their loopback host.
        zones: The servers' Availability Zones, by their loopback host.
        dns_lag: Seconds from a promotion to the moved name, by default.
        wait: Waits for some seconds.
    """

    database: Database
    servers: PostgresSet
    zone: Zone
    admin: EmulatorAdmin
    ports: Ports
    addresses: Mapping[str, Endpoint]
    zones: Mapping[str, str]
    dns_lag: float
    wait: Callable[[float], None]

    def __post_init__(self) -> None:
        self._close_standbys()
        self.point_name_at_primary()

    @property
    def writer(self) -> Endpoint:
        """The primary's address in the VPC."""
        return self.addresses[self.servers.primary.host]

    def point_name_at_primary(self) -> float:
        """Point the endpoint's name at the primary; return the time."""
        self.zone.set_address(self.database.endpoint, [str(self.writer.address)])
        return time.time()

    def rebuild_standbys(self) -> None:
        """Rebuild all servers except the primary as its synchronous standbys."""
        self._close_standbys()
        self.servers.rebuild_standbys()

    def fail_over(
        self, *, dns_lag: float | None = None, prefixed: bool = True, emits_events: bool = True
    ) -> Failover:
        """Promote the standby, move the name, and emit the events, in RDS's order.

        An old primary that was not killed keeps accepting connections. RDS would restart it.

        Args:
            dns_lag: Seconds from the promotion to the moved name, if not the default.
            prefixed: Whether the source identifier in the events begins with ``rds:``.
            emits_events: Whether the events arrive. AWS does not guarantee that.
        """
        began_at, old = time.time(), self.writer
        events: dict[str, float] = {}

        def emit(*event: str) -> None:
            if emits_events:
                events[event[0]] = time.time()
                self._emit(*event, prefixed=prefixed)

        emit(*_STARTED)
        self._set_status("rebooting")
        self.servers.promote(self.servers.standbys[0])
        self.ports.open(self.writer)
        promoted_at = time.time()
        self.wait(self.dns_lag if dns_lag is None else dns_lag)
        flipped_at = self.point_name_at_primary()
        emit(*_RESTARTED)
        self.wait(_COMPLETED_AFTER)
        emit(*_COMPLETED)
        self._set_status("available")
        return Failover(
            old=old,
            new=self.writer,
            began_at=began_at,
            promoted_at=promoted_at,
            flipped_at=flipped_at,
            events=events,
        )

    def crash(self, *, dns_lag: float | None = None, emits_events: bool = True) -> Failover:
        """Kill the primary, and fail over."""
        self.servers.primary.kill()
        return self.fail_over(dns_lag=dns_lag, emits_events=emits_events)

    def emit_failover_event(self) -> None:
        """Emit the event of the start of a failover, without a failover."""
        self._emit(*_STARTED, prefixed=False)

    def _emit(self, event_id: str, category: str, message: str, *, prefixed: bool) -> None:
        self.admin.emit(
            RdsEvent(
                identifier=self.database.identifier,
                event_id=event_id,
                categories=(category,),
                message=message,
                prefixed=prefixed,
            )
        )

    def _close_standbys(self) -> None:
        for standby in self.servers.standbys:
            self.ports.close(self.addresses[standby.host])

    def _set_status(self, status: str) -> None:
        self.admin.set_rds_status(
            RdsStatus(
                identifier=self.database.identifier,
                status=status,
                availability_zone=self.zones[self.servers.primary.host],
            )
        )
