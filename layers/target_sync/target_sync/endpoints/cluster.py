"""The endpoints of a DB cluster: its topology from the RDS API, the addresses from DNS.

No RDS API tells an address (RDS API reference, DBInstance, Endpoint), so every member's own
endpoint is looked up.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from target_sync.aws import AwsApi
from target_sync.endpoints.failures import failed_observation
from target_sync.errors import AwsCallError
from target_sync.model import DatabaseKind, FailedObservation, LookupFailure, Observation
from target_sync.ports import Endpoint, NameResolver

if TYPE_CHECKING:
    from mypy_boto3_rds.client import RDSClient

#: Who says so, where the answer rests on both.
BOTH_SOURCES = "dns+rds"

_RDS = AwsApi("rds")


@dataclass(frozen=True, slots=True)
class Member:
    """An instance of a cluster; its endpoint is None while it is being created."""

    id: str
    is_writer: bool
    endpoint: str | None


class RdsCluster:
    """One Aurora or Multi-AZ DB cluster, by its identifier."""

    def __init__(self, client: "RDSClient", identifier: str) -> None:
        self._client = client
        self.identifier = identifier

    def members(self) -> tuple[Member, ...]:
        """The members as the API lists them now, in two calls however many there are.

        A cluster has at most 16 instances, which is less than a page of DescribeDBInstances.

        Raises:
            AwsCallError: The API could not be asked, or its reply could not be used.
        """
        listed = _RDS.read(
            "DescribeDBClusters",
            lambda: [
                (member["DBInstanceIdentifier"], member["IsClusterWriter"])
                for member in self._client.describe_db_clusters(
                    DBClusterIdentifier=self.identifier
                )["DBClusters"][0]["DBClusterMembers"]
            ],
        )
        # Without an instance's identifier AWS checks the call against the resource db:*.
        endpoints = _RDS.read(
            "DescribeDBInstances",
            lambda: {
                instance["DBInstanceIdentifier"]: instance.get("Endpoint", {}).get("Address")
                for instance in self._client.describe_db_instances(
                    Filters=[{"Name": "db-cluster-id", "Values": [self.identifier]}]
                )["DBInstances"]
            },
        )
        return tuple(Member(id_, is_writer, endpoints.get(id_)) for id_, is_writer in listed)


@dataclass(frozen=True, slots=True)
class ClusterWriterEndpoint:
    """The writer of a cluster, by two sources. Implements ``target_sync.ports.Endpoint``.

    One source is DNS of the cluster's endpoint. The other is the RDS API, which says who the
    writer is, with DNS of that instance's own endpoint, which says where it is.
    """

    name: str
    cluster: RdsCluster
    resolver: NameResolver
    now: Callable[[], float]

    def observe(self) -> Observation | FailedObservation:
        """Ask both sources once.

        While the API is throttled or out of order, DNS is the one source: a failover is then
        followed with the confirm window. Any other failure of either is a failed look.
        """
        members: tuple[Member, ...] = ()
        silence = f"the RDS API names no writer of the cluster {self.cluster.identifier}"
        try:
            members = self.cluster.members()
        except AwsCallError as error:
            failed = failed_observation(error, self.name, self.now())
            if failed.failure is not LookupFailure.API_UNAVAILABLE:
                return failed
            silence = f"the RDS API could not be asked: {error}".rstrip(".")
        by_name = self.resolver.resolve(self.name)
        if isinstance(by_name, FailedObservation):
            return by_name
        writer = next((m for m in members if m.is_writer), None)
        if writer is None or writer.endpoint is None:
            # So it is for moments of a failover, too.
            return replace(
                by_name, disagreement=f"{self.name} answers {_listed(by_name)}, but {silence}."
            )
        by_topology = self.resolver.resolve(writer.endpoint)
        if isinstance(by_topology, FailedObservation):
            return by_topology
        return _compared(by_name, by_topology, writer)


@dataclass(frozen=True, slots=True)
class ClusterReadersEndpoint:
    """Every reader of a cluster. Implements ``target_sync.ports.Endpoint``.

    The cluster's reader name gives one reader per query, by turns (Aurora user guide, *Reader
    endpoints*), so it is not asked: the members are, all in one pass.
    """

    name: str
    cluster: RdsCluster
    resolver: NameResolver
    now: Callable[[], float]
    #: Whether the writer stands in when there is no reader, as it does behind AWS's own name.
    follow_writer: bool = False

    def observe(self) -> Observation | FailedObservation:
        """Look every reader up once. If one look-up fails, the whole look has failed.

        Half a set would be taken for the whole, and readers that are there would be removed.
        """
        try:
            members = self.cluster.members()
        except AwsCallError as error:
            return failed_observation(error, self.name, self.now())
        answers = []
        for endpoint in self._followed(members):
            answer = self.resolver.resolve(endpoint)
            if isinstance(answer, FailedObservation):
                return answer
            answers.append(answer)
        if not answers:
            return FailedObservation(
                name=self.name,
                failure=LookupFailure.NO_ADDRESS,
                detail=f"The cluster {self.cluster.identifier} has no reader that can be reached."
                " Add a reader to it, or set FollowWriterWithoutReaders to true.",
                at=self.now(),
            )
        return Observation(
            name=self.name,
            addresses=frozenset().union(*(answer.addresses for answer in answers)),
            source=BOTH_SOURCES,
            ttl=_longest_ttl(answers),
            at=answers[-1].at,
        )

    def _followed(self, members: Iterable[Member]) -> list[str]:
        """The endpoints of the members that are to be targets."""
        reachable = [(m.endpoint, m.is_writer) for m in members if m.endpoint is not None]
        readers = [endpoint for endpoint, is_writer in reachable if not is_writer]
        if readers or not self.follow_writer:
            return readers
        return [endpoint for endpoint, _ in reachable]


def cluster_endpoint(
    kind: DatabaseKind,
    name: str,
    cluster: RdsCluster,
    resolver: NameResolver,
    now: Callable[[], float],
    *,
    follow_writer: bool = False,
) -> Endpoint:
    """How the writer or, of the other kind, the readers of a cluster are observed."""
    if kind is DatabaseKind.RDS_CLUSTER_WRITER:
        return ClusterWriterEndpoint(name, cluster, resolver, now)
    return ClusterReadersEndpoint(name, cluster, resolver, now, follow_writer=follow_writer)


def _compared(by_name: Observation, by_topology: Observation, writer: Member) -> Observation:
    agree = by_name.addresses == by_topology.addresses
    return Observation(
        name=by_name.name,
        addresses=by_name.addresses,
        second=by_topology.addresses,
        source=BOTH_SOURCES,
        ttl=_longest_ttl([by_name, by_topology]),
        at=by_topology.at,
        disagreement=""
        if agree
        else f"{by_name.name} answers {_listed(by_name)}, but the RDS API says that {writer.id} at"
        f" {_listed(by_topology)} is the writer.",
    )


def _longest_ttl(answers: Iterable[Observation]) -> int | None:
    """The longest, because the confirm window has to outlast every cache on the way."""
    return max((a.ttl for a in answers if a.ttl is not None), default=None)


def _listed(answer: Observation) -> str:
    return ", ".join(sorted(map(str, answer.addresses)))
