"""A failover of an Aurora cluster: names, roles, events, and the return of the old writer.

Source: Aurora user guide, "Aurora endpoint connections" (the writer endpoint is an alias of the
writer instance, the reader endpoint of each reader in turn) and "Amazon RDS event categories".
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lab.addresses import Endpoint
from lab.aws import Cluster
from lab.dns_server import Zone
from lab.emulator.client import EmulatorAdmin
from lab.emulator.messages import ClusterStatus, RdsEvent, RdsSource
from lab.postgres import PostgresServer, PostgresSet


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFailover:
    """The times of one failover, in epoch seconds.

    Attributes:
        old: The old writer's address and port in the VPC.
        new: The new writer's.
        demoted: The old writer, which is now a reader.
        began_at: When it was requested.
        promoted_at: When the new writer began to accept writes.
        returned_at: When the old writer was back as a reader.
        announced_at: When the RDS API began to name the new writer.
        flipped_at: When the cluster's name moved.
    """

    old: Endpoint
    new: Endpoint
    demoted: PostgresServer
    began_at: float
    promoted_at: float
    returned_at: float
    announced_at: float
    flipped_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterControlPlane:
    """The RDS control plane of the lab's one cluster, whose names it points at the servers.

    Attributes:
        cluster: The cluster in the API.
        servers: Its servers, in the order of its instances.
        zone: The zone of its names.
        admin: Emits events.
        addresses: The servers' addresses in the VPC, by their loopback host.
        wait: Waits for some seconds.
    """

    cluster: Cluster
    servers: PostgresSet
    zone: Zone
    admin: EmulatorAdmin
    addresses: Mapping[str, Endpoint]
    wait: Callable[[float], None]
    _identifiers: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for server, (identifier, name) in zip(
            self.servers.servers, self.cluster.instances.items(), strict=True
        ):
            self._identifiers[server.host] = identifier
            self.zone.set_address(name, [str(self.addresses[server.host].address)])
        self._point_names()

    def fail_over(
        self, target: PostgresServer, *, dns_lag: float, api_lag: float = 0.0
    ) -> ClusterFailover:
        """Promote a reader; the old writer and the other readers come back as its readers.

        Both lags start when the readers are back. During a lag the old writer is a healthy server
        that a name or the API still calls the writer.

        Args:
            target: The reader to promote.
            dns_lag: Seconds until the names move.
            api_lag: Seconds until the RDS API names the new writer.
        """
        began_at = time.time()
        demoted, identifier = self.servers.primary, self._identifiers[target.host]
        self._emit("RDS-EVENT-0073", f"Started cross AZ failover to DB instance: {identifier}")
        self.servers.promote(target)
        promoted_at = time.time()
        self.servers.rebuild_standbys()
        returned_at = time.time()
        moved_at: dict[Callable[[], None], float] = {}
        for lag, move in sorted(
            [(api_lag, self._update_api), (dns_lag, self._point_names)], key=lambda pair: pair[0]
        ):
            self.wait(max(0.0, returned_at + lag - time.time()))
            move()
            moved_at[move] = time.time()
        self._emit("RDS-EVENT-0071", f"Completed failover to DB instance: {identifier}")
        return ClusterFailover(
            old=self.addresses[demoted.host],
            new=self.addresses[target.host],
            demoted=demoted,
            began_at=began_at,
            promoted_at=promoted_at,
            returned_at=returned_at,
            announced_at=moved_at[self._update_api],
            flipped_at=moved_at[self._point_names],
        )

    def _update_api(self) -> None:
        self.admin.set_cluster_status(
            ClusterStatus(
                identifier=self.cluster.identifier,
                status="available",
                writer=self._identifiers[self.servers.primary.host],
            )
        )

    def _point_names(self) -> None:
        instances = self.cluster.instances
        writer = self._identifiers[self.servers.primary.host]
        reader = self._identifiers[self.servers.standbys[0].host]
        self.zone.set_alias(self.cluster.endpoint, instances[writer])
        self.zone.set_alias(self.cluster.reader_endpoint, instances[reader])

    def _emit(self, event_id: str, message: str) -> None:
        self.admin.emit(
            RdsEvent(
                identifier=self.cluster.identifier,
                event_id=event_id,
                categories=("failover",),
                message=message,
                source=RdsSource.CLUSTER,
            )
        )
