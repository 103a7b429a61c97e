"""Observes a DB cluster: its members by the RDS API, their addresses by DNS.

The RDS API has no addresses (RDS API reference, DBInstance, Endpoint), so the endpoint of each
member is looked up.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from target_sync.aws import AwsApi
from target_sync.endpoints.failures import failed_observation
from target_sync.errors import AwsCallError
from target_sync.model import (
    CandidateList,
    DatabaseKind,
    FailedObservation,
    IPAddress,
    LookupFailure,
    Observation,
)
from target_sync.ports import Endpoint, NameResolver

if TYPE_CHECKING:
    from mypy_boto3_rds.client import RDSClient
    from mypy_boto3_rds.type_defs import DBInstanceTypeDef

#: The source of an observation that needs both.
BOTH_SOURCES = "dns+rds"
#: How long the address of a member that is no target is not looked up again.
LOOKUP_SECONDS = 300.0

_RDS = AwsApi("rds")


@dataclass(frozen=True, slots=True)
class Member:
    """An instance of a cluster. Its endpoint is None while it is being created or deleted."""

    id: str
    is_writer: bool
    endpoint: str | None


class RdsCluster:
    """One Aurora or Multi-AZ DB cluster, by its identifier."""

    def __init__(self, client: "RDSClient", identifier: str) -> None:
        self._client = client
        self.identifier = identifier
        self._endpoints: Mapping[str, str | None] = {}
        #: The members that the last successful call listed.
        self.listed: tuple[Member, ...] = ()

    def members(self) -> tuple[Member, ...]:
        """Return the current members. The second call follows only if an endpoint is not known.

        The endpoint of an instance does not change: AWS derives it from the instance's identifier,
        the account and the Region. A cluster has at most 16 instances, which is less than a page of
        DescribeDBInstances.

        Raises:
            AwsCallError: A call failed.
        """
        listed = _RDS.call(
            "DescribeDBClusters",
            lambda: [
                (member["DBInstanceIdentifier"], member["IsClusterWriter"])
                for member in self._client.describe_db_clusters(
                    DBClusterIdentifier=self.identifier
                )["DBClusters"][0]["DBClusterMembers"]
            ],
        )
        if any(self._endpoints.get(id_) is None for id_, _ in listed):
            # Without an instance's identifier AWS checks the call against the resource db:*.
            self._endpoints = _RDS.call(
                "DescribeDBInstances",
                lambda: {
                    instance["DBInstanceIdentifier"]: _endpoint_of(instance)
                    for instance in self._client.describe_db_instances(
                        Filters=[{"Name": "db-cluster-id", "Values": [self.identifier]}]
                    )["DBInstances"]
                },
            )
        self.listed = tuple(Member(i, is_writer, self._endpoints.get(i)) for i, is_writer in listed)
        return self.listed

    def forget_endpoints(self) -> None:
        """List the endpoints again in the next call: one does not exist in DNS any more."""
        self._endpoints = {}


@dataclass(frozen=True, slots=True)
class ClusterWriterEndpoint:
    """The writer of a cluster, by two sources. Implements ``target_sync.ports.Endpoint``.

    The first source is DNS of the cluster's endpoint. The second source is the RDS API, which
    names the writer, together with DNS of that instance's own endpoint. If the cluster's endpoint
    is an alias of that very name, one answer has the records of both names. Others have seen such
    aliases on AWS; AWS does not document them.
    """

    name: str
    cluster: RdsCluster
    resolver: NameResolver
    now: Callable[[], float]

    def observe(self) -> Observation | FailedObservation:
        """Observe both sources once.

        While the API fails, or the name of the writer does not exist, DNS of the cluster's endpoint
        is the only source, and the run needs the confirm window to follow a failover. A missing
        permission and any other failure of DNS is a failed observation.
        """
        members: tuple[Member, ...] = ()
        no_second = f"the RDS API names no writer of the cluster {self.cluster.identifier}"
        try:
            members = self.cluster.members()
        except AwsCallError as error:
            failed = failed_observation(error, self.name, self.now())
            if failed.failure is LookupFailure.ACCESS_DENIED:
                return failed
            no_second = f"the RDS API failed: {error}".rstrip(".")
        by_name = self.resolver.resolve(self.name)
        if isinstance(by_name, FailedObservation):
            return by_name
        writer = next((m for m in members if m.is_writer), None)
        if writer is None or writer.endpoint is None:
            # A cluster has no writer for a moment of a failover, too.
            return _by_name_alone(by_name, no_second)
        return self._with_writer(by_name, writer, writer.endpoint)

    def _with_writer(
        self, by_name: Observation, writer: Member, endpoint: str
    ) -> Observation | FailedObservation:
        if by_name.canonical_name == endpoint:
            return _combine(by_name, replace(by_name, aliases=()), writer)
        by_api = self.resolver.resolve(endpoint)
        if isinstance(by_api, Observation):
            return _combine(by_name, by_api, writer)
        if by_api.failure is not LookupFailure.NAME_DOES_NOT_EXIST:
            return by_api
        # The instance was renamed, or it is being deleted.
        self.cluster.forget_endpoints()
        return _by_name_alone(by_name, f"{endpoint} of the writer does not exist")


@dataclass(frozen=True, slots=True)
class ClusterReadersEndpoint:
    """Every reader of a cluster. Implements ``target_sync.ports.Endpoint``.

    A look-up of the cluster's reader name returns only one reader (Aurora user guide, *Reader
    endpoints*). So the names of all readers are looked up instead.
    """

    name: str
    cluster: RdsCluster
    resolver: NameResolver
    now: Callable[[], float]
    #: Whether the writer is the target while there is no reader, as with AWS's reader name.
    follow_writer: bool = False

    def observe(self) -> Observation | FailedObservation:
        """Look up every reader once. If one look-up fails, the observation fails.

        Otherwise the run would remove the readers that are missing from a partial result. If a name
        does not exist, the members are listed again: a reader that is being deleted loses its name.
        """
        observed = self._look_up()
        if isinstance(observed, Observation) or not self.cluster.listed:
            return observed
        if observed.failure is LookupFailure.NAME_DOES_NOT_EXIST:
            self.cluster.forget_endpoints()
            return self._look_up()
        return observed

    def _look_up(self) -> Observation | FailedObservation:
        try:
            members = self.cluster.members()
        except AwsCallError as error:
            return failed_observation(error, self.name, self.now())
        observations = []
        for endpoint in self._followed(members):
            observation = self.resolver.resolve(endpoint)
            if isinstance(observation, FailedObservation):
                return observation
            observations.append(observation)
        if not observations:
            return FailedObservation(
                name=self.name,
                failure=LookupFailure.NO_ADDRESS,
                detail=f"The cluster {self.cluster.identifier} has no reader that is available."
                " Add a reader to it, or set FollowWriterWithoutReaders to true.",
                at=self.now(),
            )
        return Observation(
            name=self.name,
            addresses=frozenset().union(*(o.addresses for o in observations)),
            source=BOTH_SOURCES,
            ttl=_longest_ttl(observations),
            aliases=tuple(alias for o in observations for alias in o.aliases),
            at=observations[-1].at,
        )

    def _followed(self, members: Iterable[Member]) -> list[str]:
        """Return the endpoints of the members that should be targets."""
        available = [(m.endpoint, m.is_writer) for m in members if m.endpoint is not None]
        readers = [endpoint for endpoint, is_writer in available if not is_writer]
        if readers or not self.follow_writer:
            return readers
        return [endpoint for endpoint, _ in available]


class ClusterMembers:
    """The addresses of all members of a cluster. Implements ``target_sync.ports.Candidates``.

    The members are those that the observation has listed. An address is looked up again after
    `LOOKUP_SECONDS`, because a member rarely gets another one. It also implements
    ``target_sync.ports.NameResolver``: as the resolver of the observation, it knows the addresses
    of the members that the observation looks up, and looks up only the others.
    """

    def __init__(
        self, cluster: RdsCluster, resolver: NameResolver, now: Callable[[], float]
    ) -> None:
        self._cluster, self._resolver, self._now = cluster, resolver, now
        self._found: dict[str, tuple[float, frozenset[IPAddress]]] = {}

    def resolve(self, name: str) -> Observation | FailedObservation:
        """Look up a name once, always. The cache is not for observations."""
        observation = self._resolver.resolve(name)
        if isinstance(observation, Observation):
            for known in (name, observation.canonical_name):
                self._found[known] = observation.at, observation.addresses
        return observation

    def addresses(self, serving: frozenset[IPAddress]) -> CandidateList:
        """List the addresses of the members, in their order."""
        names = [m.endpoint for m in self._cluster.listed if m.endpoint is not None]
        if not names:
            cluster = self._cluster.identifier
            return CandidateList(failure=f"The RDS API has listed no member of {cluster} yet.")
        found: dict[IPAddress, None] = {}
        for name in names:
            addresses = self._addresses_of(name)
            if isinstance(addresses, FailedObservation):
                return CandidateList(failure=addresses.detail)
            found |= dict.fromkeys(sorted(addresses, key=int))
        return CandidateList(addresses=tuple(a for a in found if a not in serving))

    def _addresses_of(self, name: str) -> frozenset[IPAddress] | FailedObservation:
        """Return the addresses of a member. One that is being created or deleted has none."""
        at, addresses = self._found.get(name, (-inf, frozenset[IPAddress]()))
        if self._now() < at + LOOKUP_SECONDS:
            return addresses
        observation = self.resolve(name)
        if isinstance(observation, Observation):
            return observation.addresses
        if observation.failure is not LookupFailure.NAME_DOES_NOT_EXIST:
            return observation
        self._found[name] = observation.at, frozenset()
        return frozenset()


def cluster_endpoint(
    kind: DatabaseKind,
    name: str,
    cluster: RdsCluster,
    resolver: NameResolver,
    now: Callable[[], float],
    *,
    follow_writer: bool = False,
) -> Endpoint:
    """Return the endpoint of the writer or of the readers, by the kind."""
    if kind is DatabaseKind.RDS_CLUSTER_WRITER:
        return ClusterWriterEndpoint(name, cluster, resolver, now)
    return ClusterReadersEndpoint(name, cluster, resolver, now, follow_writer=follow_writer)


def _endpoint_of(instance: "DBInstanceTypeDef") -> str | None:
    is_deleting = instance.get("DBInstanceStatus") == "deleting"
    return None if is_deleting else instance.get("Endpoint", {}).get("Address")


def _by_name_alone(by_name: Observation, reason: str) -> Observation:
    return replace(
        by_name, disagreement=f"{by_name.name} resolves to {_list(by_name)}, but {reason}."
    )


def _combine(by_name: Observation, by_api: Observation, writer: Member) -> Observation:
    agree = by_name.addresses == by_api.addresses
    return Observation(
        name=by_name.name,
        addresses=by_name.addresses,
        second=by_api.addresses,
        source=BOTH_SOURCES,
        ttl=_longest_ttl([by_name, by_api]),
        aliases=(*by_name.aliases, *by_api.aliases),
        at=by_api.at,
        disagreement=""
        if agree
        else f"{by_name.name} resolves to {_list(by_name)}, but by the RDS API the writer is"
        f" {writer.id} at {_list(by_api)}.",
    )


def _longest_ttl(observations: Iterable[Observation]) -> int | None:
    """Return the longest TTL, because the confirm window must outlast every cache."""
    return max((o.ttl for o in observations if o.ttl is not None), default=None)


def _list(observation: Observation) -> str:
    return ", ".join(sorted(map(str, observation.addresses)))
