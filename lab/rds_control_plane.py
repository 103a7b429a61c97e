"""What RDS does at a failover: it moves the database, then its name, and tells of it.

The order is the one that was measured on Multi-AZ PostgreSQL instances: "started" with the
outage, the name moves, "restarted", and "completed" last, seconds after everything works again.

The port of the standby is closed until its promotion. PostgreSQL's own standby would accept
connections, so it is the address plan that closes it.
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
    """The moments of one failover, in seconds since the epoch.

    Attributes:
        old: The old primary's address and port in the VPC.
        new: The new primary's.
        began_at: When the old primary was killed, or the failover was asked for.
        promoted_at: From when on the new primary accepts writes.
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
    """Takes down the failovers asked for by the RDS API; the emulator posts them to its `url`."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
        super().__init__(_hook_handler(self._asked.put))

    def asked(self) -> Mapping[str, str] | None:
        """Take the next request as the emulator sent it; None while there is none."""
        try:
            return self._asked.get_nowait()
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
            """Say nothing: standard error is the demo's."""

    return Handler


class RdsControlPlane:
    """RDS for the one instance of the lab."""

    def __init__(
        self,
        *,
        database: Database,
        servers: PostgresSet,
        zone: Zone,
        admin: EmulatorAdmin,
        ports: Ports,
        addresses: Mapping[str, Endpoint],
        zones: Mapping[str, str],
    ) -> None:
        """Take over an instance.

        Args:
            database: The instance as the API knows it.
            servers: Its servers; the first standby is the one that is promoted.
            zone: Where its endpoint's name is.
            admin: Where events are emitted.
            ports: Opens and closes the ports of the servers' addresses.
            addresses: The servers' addresses in the VPC, by their loopback host.
            zones: The servers' Availability Zones, by their loopback host.
        """
        self._database = database
        self._servers = servers
        self._zone = zone
        self._admin = admin
        self._ports = ports
        self._addresses = addresses
        self._zones = zones
        self._close_standbys()
        self.point_name_at_primary()

    @property
    def writer(self) -> Endpoint:
        """The primary's address in the VPC."""
        return self._addresses[self._servers.primary.host]

    def point_name_at_primary(self) -> float:
        """Let the endpoint's name lead to the primary; return when it was done."""
        self._zone.set_address(self._database.endpoint, [str(self.writer.address)])
        return time.time()

    def rebuild_standbys(self) -> None:
        """Make every server but the primary its synchronous standby, whatever it was before."""
        self._close_standbys()
        self._servers.rebuild_standbys()

    def fail_over(
        self,
        *,
        dns_lag: float,
        prefixed: bool,
        wait: Callable[[float], None],
        tells: bool = True,
    ) -> Failover:
        """Promote the standby, move the name, and tell of it, in RDS's order.

        An old primary that was not killed goes on accepting connections: harsher than RDS, which
        restarts it.

        Args:
            dns_lag: Seconds from the promotion to the moved name.
            prefixed: Whether the events name their source with ``rds:`` in front.
            wait: Waits for some seconds.
            tells: Whether the events arrive. AWS delivers them as best effort.
        """
        began_at, old = time.time(), self.writer
        events: dict[str, float] = {}

        def emit(*event: str) -> None:
            if tells:
                events[event[0]] = time.time()
                self._emit(*event, prefixed=prefixed)

        emit(*_STARTED)
        self._set_status("rebooting")
        self._servers.promote(self._servers.standbys[0])
        self._ports.open(self.writer)
        promoted_at = time.time()
        wait(dns_lag)
        flipped_at = self.point_name_at_primary()
        emit(*_RESTARTED)
        wait(_COMPLETED_AFTER)
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

    def tell_of_failover(self) -> None:
        """Emit the event with which a failover begins, whether or not there is one."""
        self._emit(*_STARTED, prefixed=False)

    def _emit(self, event_id: str, category: str, message: str, *, prefixed: bool) -> None:
        self._admin.emit(
            RdsEvent(
                identifier=self._database.identifier,
                event_id=event_id,
                categories=(category,),
                message=message,
                prefixed=prefixed,
            )
        )

    def _close_standbys(self) -> None:
        for standby in self._servers.standbys:
            self._ports.close(self._addresses[standby.host])

    def _set_status(self, status: str) -> None:
        self._admin.set_rds_status(
            RdsStatus(
                identifier=self._database.identifier,
                status=status,
                availability_zone=self._zones[self._servers.primary.host],
            )
        )
