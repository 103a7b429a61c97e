"""The lab's DNS server as a process, for tests with real packets."""

import sys
from collections.abc import Callable
from pathlib import Path

from lab.addresses import free_port
from lab.dns_server import Zone, query_count
from lab.processes import Supervisor, accepts_connections
from target_sync.endpoints.dns import DnsResolver, NameServer

HOST = "127.0.0.1"


class RunningNameServer:
    """A DNS server on this machine, until its supervisor ends it.

    Attributes:
        zone: Its records.
        port: Its port on 127.0.0.1.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.port = free_port(HOST)
        self.zone = Zone(supervisor.work_dir / "zone.json")
        self._log = supervisor.work_dir / "queries.log"
        supervisor.start(
            "DNS server",
            [
                *(sys.executable, "-m", "lab.dns_server", "--host", HOST, "--port", str(self.port)),
                *("--zone", supervisor.work_dir / "zone.json", "--query-log", self._log),
            ],
            cwd=Path(__file__).parents[2],
            ready=lambda: accepts_connections(HOST, self.port),
        )

    @property
    def queries(self) -> int:
        """The number of queries until now."""
        return query_count(self._log)

    def resolver(self, now: Callable[[], float], *ports: int) -> DnsResolver:
        """Return a resolver that queries this server, or the servers on these ports."""
        servers = [NameServer(HOST, port) for port in ports or (self.port,)]
        return DnsResolver(now=now, name_servers=servers)
