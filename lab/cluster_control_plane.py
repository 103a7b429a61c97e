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
    """The moment from which the new writer accepts writes, and who wrote before."""

    promoted_at: float
    demoted: PostgresServer


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
        self._identifiers = {
            server.host: identifier
            for server, identifier in zip(servers.servers, cluster.instances, strict=True)
        }
        for server in servers.servers:
            name = cluster.instances[self._identifiers[server.host]]
            zone.set_address(name, [str(addresses[server.host].address)])
        self._point_names()

    def fail_over(
        self, target: PostgresServer, *, dns_lag: float, wait: Callable[[float], None]
    ) -> ClusterFailover:
        """Promote a reader; the old writer and the other readers come back as its readers.

        Args:
            target: The reader to promote.
            dns_lag: Seconds from the promotion to the moved names.
            wait: Waits for some seconds.
        """
        demoted, identifier = self._servers.primary, self._identifiers[target.host]
        self._emit("RDS-EVENT-0073", f"Started cross AZ failover to DB instance: {identifier}")
        self._servers.promote(target)
        promoted_at = time.time()
        self._admin.set_cluster_status(
            ClusterStatus(
                identifier=self._cluster.identifier, status="available", writer=identifier
            )
        )
        wait(dns_lag)
        self._point_names()
        self._servers.rebuild_standbys()
        self._emit("RDS-EVENT-0071", f"Completed failover to DB instance: {identifier}")
        return ClusterFailover(promoted_at=promoted_at, demoted=demoted)

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
