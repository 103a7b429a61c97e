"""A cluster of three members in memory, and the road to one of its ends."""

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
    """The writer is the first member. Every member accepts connections."""

    def __init__(self, *registered: object) -> None:
        self.scenario = Scenario(*registered)
        self.rds = FakeRds(*MEMBERS)
        self.dns = FakeDns(self.scenario.clock)
        self.dns.says(WRITER_NAME, A)
        for member, address in MEMBERS.items():
            self.dns.says(instance_name(member), address)
        self.scenario.listens(*MEMBERS.values())

    @classmethod
    def of_writer(cls) -> "Cluster":
        """The road leads to the writer."""
        cluster = cls(A)
        cluster.scenario.is_observed_by(
            ClusterWriterEndpoint(
                WRITER_NAME, cluster.member_list(), cluster.dns, cluster.scenario.clock.now
            )
        )
        return cluster

    @classmethod
    def of_readers(cls) -> "Cluster":
        """The road leads to the readers."""
        cluster = cls(B, C)
        cluster.scenario.is_observed_by(
            ClusterReadersEndpoint(
                READER_NAME, cluster.member_list(), cluster.dns, cluster.scenario.clock.now
            )
        )
        return cluster

    def member_list(self) -> RdsCluster:
        client: Any = self.rds
        return RdsCluster(client, CLUSTER)

    def fails_over(self, writer: str) -> None:
        """Both sources name the new writer. The old one goes on as a reader that is healthy."""
        self.promotes(writer)
        self.rds.writer = writer
        self.dns.says(WRITER_NAME, MEMBERS[writer])

    def promotes(self, writer: str) -> None:
        """A member takes the writes, and nobody has said so yet."""
        self.scenario.right = frozenset({MEMBERS[writer]})

    def after(self, seconds: float, source: str, writer: str) -> None:
        """One of the sources names the new writer after so many seconds."""
        changes = {
            "dns": lambda: self.dns.says(WRITER_NAME, MEMBERS[writer]),
            "rds": lambda: setattr(self.rds, "writer", writer),
        }
        self.scenario.later(seconds, changes[source])
