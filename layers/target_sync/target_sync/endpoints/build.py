"""Makes the endpoint of a database from the settings. Holds the endpoint of given addresses.

A function imports only the adapters of its own kind of database, so that it starts faster.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from target_sync.aws import make_client
from target_sync.config import DnsResolution, Settings
from target_sync.model import DatabaseKind, Observation
from target_sync.ports import Endpoint, NameResolver


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
        from target_sync.endpoints.ec2 import InstanceEndpoint  # noqa: PLC0415 - see above

        return InstanceEndpoint(settings.endpoint, make_client("ec2"), now)
    resolver = _resolver(settings, now)
    if settings.kind.is_cluster:
        from target_sync.endpoints.cluster import RdsCluster, cluster_endpoint  # noqa: PLC0415 - see above

        cluster = RdsCluster(make_client("rds"), settings.identifier)
        follow_writer = settings.follow_writer
        return cluster_endpoint(
            settings.kind, settings.endpoint, cluster, resolver, now, follow_writer=follow_writer
        )
    from target_sync.endpoints.dns import DnsEndpoint  # noqa: PLC0415 - see above

    return DnsEndpoint(settings.endpoint, resolver)


def _resolver(settings: Settings, now: Callable[[], float]) -> NameResolver:
    from target_sync.endpoints.dns import make_resolver  # noqa: PLC0415 - see above

    resolver = make_resolver(settings.resolvers, now)
    if settings.resolution is DnsResolution.SYSTEM:
        return resolver
    from target_sync.endpoints.authoritative import AuthoritativeResolver  # noqa: PLC0415 - above

    return AuthoritativeResolver(now=now, system=resolver)
