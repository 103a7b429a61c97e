"""Makes the endpoint of a database from the settings. Holds the endpoint of given addresses."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from target_sync.aws import make_client
from target_sync.config import DnsResolution, Settings
from target_sync.endpoints.cluster import (
    ClusterMembers,
    RdsCluster,
    cluster_endpoint,
)
from target_sync.endpoints.ec2 import InstanceEndpoint
from target_sync.model import DatabaseKind, Observation
from target_sync.ports import Candidates, Endpoint, NameResolver


@dataclass(frozen=True, slots=True)
class StaticEndpoint:
    """Addresses from a parameter of the stack. Implements ``target_sync.ports.Endpoint``."""

    addresses: frozenset[IPv4Address]
    now: Callable[[], float]

    def observe(self) -> Observation:
        """Return the addresses."""
        return Observation(
            name=", ".join(sorted(map(str, self.addresses))),
            addresses=frozenset(self.addresses),
            source="static",
            ttl=None,
            at=self.now(),
        )


def endpoint_of(settings: Settings, now: Callable[[], float]) -> Endpoint:
    """Return the endpoint of the database."""
    if settings.kind is DatabaseKind.STATIC:
        return StaticEndpoint(settings.addresses, now)
    if settings.kind is DatabaseKind.EC2_INSTANCE:
        return InstanceEndpoint(settings.endpoint, make_client("ec2"), now)
    return _named_endpoint(settings, now)


def members_of(endpoint: Endpoint) -> Candidates | None:
    """Return the members of a cluster by its endpoint; None for another endpoint."""
    resolver = getattr(endpoint, "resolver", None)
    return resolver if isinstance(resolver, ClusterMembers) else None


def _named_endpoint(settings: Settings, now: Callable[[], float]) -> Endpoint:
    # DNS is 12 % of a start, and not needed by the kinds above.
    from target_sync.endpoints.authoritative import AuthoritativeResolver  # noqa: PLC0415
    from target_sync.endpoints.dns import DnsEndpoint, make_resolver  # noqa: PLC0415

    resolver: NameResolver = make_resolver(settings.resolvers, now)
    if settings.resolution is DnsResolution.AUTHORITATIVE:
        resolver = AuthoritativeResolver(now=now, system=resolver)
    if not settings.kind.is_cluster:
        return DnsEndpoint(settings.endpoint, resolver)
    cluster = RdsCluster(make_client("rds"), settings.identifier)
    return cluster_endpoint(
        settings.kind,
        settings.endpoint,
        cluster,
        ClusterMembers(cluster, resolver, now),
        now,
        follow_writer=settings.follow_writer,
    )
