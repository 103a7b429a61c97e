"""What Aurora does at a failover of a cluster: names, roles, events; and the old writer's return.

Source: Aurora user guide, "Aurora endpoint connections" (the writer's name leads to the writer
instance's, the reader's to one reader after the other) and "Amazon RDS event categories".
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.addresses import Endpoint
from lab.aws import Cluster
from lab.dns_server import Zone
from lab.emulator.client import EmulatorAdmin
from lab.emulator.messages import ClusterStatus, RdsEvent, RdsSource
from lab.postgres import PostgresServer, PostgresSet


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFailover:
    """The moments of one failover, in seconds since the epoch.

    Attributes:
        old: The old writer's address and port in the VPC.
        new: The new writer's.
        demoted: The old writer, which is a reader now.
        began_at: When it was asked for.
        promoted_at: From when on the new writer accepts writes.
        returned_at: From when on the old writer is back as a reader.
        told_at: When the RDS API began to name the new writer.
        flipped_at: When the cluster's name moved.
    """

    old: Endpoint
    new: Endpoint
    demoted: PostgresServer
    began_at: float
    promoted_at: float
    returned_at: float
    told_at: float
    flipped_at: float


class ClusterControlPlane:
    """RDS for the one cluster of the lab."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        servers: PostgresSet,
        zone: Zone,
        admin: EmulatorAdmin,
        addresses: Mapping[str, Endpoint],
    ) -> None:
        """Take over a cluster.

        Args:
            cluster: The cluster as the API knows it.
            servers: Its servers, in the order of its instances.
            zone: Where its names are.
            admin: Where events are emitted.
            addresses: The servers' addresses in the VPC, by their loopback host.
        """
        self._cluster = cluster
        self._servers = servers
        self._zone = zone
        self._admin = admin
        self._addresses = addresses
        self._identifiers = {
            server.host: identifier
            for server, identifier in zip(servers.servers, cluster.instances, strict=True)
        }
        for server in servers.servers:
            name = cluster.instances[self._identifiers[server.host]]
            zone.set_address(name, [str(addresses[server.host].address)])
        self._point_names()

    def fail_over(
        self,
        target: PostgresServer,
        *,
        dns_lag: float,
        wait: Callable[[float], None],
        api_lag: float = 0.0,
    ) -> ClusterFailover:
        """Promote a reader; the old writer and the other readers come back as its readers.

        They are back before either lag counts: for as long as it lasts, the old writer is a
        healthy server under a name or a role that is not its own any more.

        Args:
            target: The reader to promote.
            dns_lag: Seconds until the names move.
            wait: Waits for some seconds.
            api_lag: Seconds until the RDS API tells.
        """
        began_at = time.time()
        demoted, identifier = self._servers.primary, self._identifiers[target.host]
        self._emit("RDS-EVENT-0073", f"Started cross AZ failover to DB instance: {identifier}")
        self._servers.promote(target)
        promoted_at = time.time()
        self._servers.rebuild_standbys()
        returned_at = time.time()
        moved_at: dict[Callable[[], None], float] = {}
        for lag, move in sorted(
            [(api_lag, self._tell_writer), (dns_lag, self._point_names)], key=lambda pair: pair[0]
        ):
            wait(max(0.0, returned_at + lag - time.time()))
            move()
            moved_at[move] = time.time()
        self._emit("RDS-EVENT-0071", f"Completed failover to DB instance: {identifier}")
        return ClusterFailover(
            old=self._addresses[demoted.host],
            new=self._addresses[target.host],
            demoted=demoted,
            began_at=began_at,
            promoted_at=promoted_at,
            returned_at=returned_at,
            told_at=moved_at[self._tell_writer],
            flipped_at=moved_at[self._point_names],
        )

    def _tell_writer(self) -> None:
        self._admin.set_cluster_status(
            ClusterStatus(
                identifier=self._cluster.identifier,
                status="available",
                writer=self._identifiers[self._servers.primary.host],
            )
        )

    def _point_names(self) -> None:
        instances = self._cluster.instances
        writer = self._identifiers[self._servers.primary.host]
        reader = self._identifiers[self._servers.standbys[0].host]
        self._zone.set_alias(self._cluster.endpoint, instances[writer])
        self._zone.set_alias(self._cluster.reader_endpoint, instances[reader])

    def _emit(self, event_id: str, message: str) -> None:
        self._admin.emit(
            RdsEvent(
                identifier=self._cluster.identifier,
                event_id=event_id,
                categories=("failover",),
                message=message,
                source=RdsSource.CLUSTER,
            )
        )
