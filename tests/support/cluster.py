"""A cluster of three members in memory."""

from typing import Any

from target_sync.endpoints.cluster import ClusterReadersEndpoint, ClusterWriterEndpoint, RdsCluster
from tests.support.databases import (
    CLUSTER,
    READER_NAME,
    WRITER_NAME,
    FakeDns,
    FakeRds,
    instance_name,
)
from tests.support.scenario import A, B, C, Scenario

MEMBERS = {"orders-1": A, "orders-2": B, "orders-3": C}


class Cluster:
    """A cluster. The first member is the writer, and every member accepts connections."""

    def __init__(self, *registered: object) -> None:
        self.scenario = Scenario(*registered)
        self.rds = FakeRds(*MEMBERS)
        self.dns = FakeDns(self.scenario.clock)
        self.dns.set_addresses(WRITER_NAME, A)
        for member, address in MEMBERS.items():
            self.dns.set_addresses(instance_name(member), address)
        self.scenario.set_listening(*MEMBERS.values())

    @classmethod
    def of_writer(cls) -> "Cluster":
        """Return a cluster whose target group follows the writer."""
        cluster = cls(A)
        cluster.scenario.use_endpoint(
            ClusterWriterEndpoint(
                WRITER_NAME, cluster.member_list(), cluster.dns, cluster.scenario.clock.now
            )
        )
        return cluster

    @classmethod
    def of_readers(cls) -> "Cluster":
        """Return a cluster whose target group follows the readers."""
        cluster = cls(B, C)
        cluster.scenario.use_endpoint(
            ClusterReadersEndpoint(
                READER_NAME, cluster.member_list(), cluster.dns, cluster.scenario.clock.now
            )
        )
        return cluster

    def member_list(self) -> RdsCluster:
        client: Any = self.rds
        return RdsCluster(client, CLUSTER)

    def fail_over(self, writer: str) -> None:
        """Fail over: both sources name the new writer, and the old one becomes a healthy reader."""
        self.promote(writer)
        self.rds.writer = writer
        self.dns.set_addresses(WRITER_NAME, MEMBERS[writer])

    def promote(self, writer: str) -> None:
        """Promote a member before any source names it as the writer."""
        self.scenario.expected_servers = frozenset({MEMBERS[writer]})

    def name_writer_after(self, seconds: float, source: str, writer: str) -> None:
        """Let ``dns`` or ``rds`` name a new writer after a delay."""
        changes = {
            "dns": lambda: self.dns.set_addresses(WRITER_NAME, MEMBERS[writer]),
            "rds": lambda: setattr(self.rds, "writer", writer),
        }
        self.scenario.after(seconds, changes[source])
