"""Choose how a database is observed, from the settings."""

from collections.abc import Callable

from target_sync.aws import make_client
from target_sync.config import DnsResolution, Settings
from target_sync.endpoints.static import StaticEndpoint
from target_sync.model import DatabaseKind
from target_sync.ports import Endpoint, NameResolver


def endpoint_of(settings: Settings, now: Callable[[], float]) -> Endpoint:
    """How a database of this kind is observed."""
    if settings.kind is DatabaseKind.STATIC:
        return StaticEndpoint(settings.addresses, now)
    if settings.kind is DatabaseKind.EC2_INSTANCE:
        return _instance_endpoint(settings, now)
    resolver = _resolver(settings, now)
    if settings.kind.is_cluster:
        return _cluster_endpoint(settings, resolver, now)
    return _named_endpoint(settings, resolver)


# What only some kinds need is imported where it is needed: the others start without it.


def _resolver(settings: Settings, now: Callable[[], float]) -> NameResolver:
    from target_sync.endpoints.dns import make_resolver  # noqa: PLC0415 - see above

    resolver = make_resolver(settings.resolvers, now)
    if settings.resolution is DnsResolution.SYSTEM:
        return resolver
    return _authoritative(resolver, now)


def _named_endpoint(settings: Settings, resolver: NameResolver) -> Endpoint:
    from target_sync.endpoints.dns import DnsEndpoint  # noqa: PLC0415 - see above

    return DnsEndpoint(settings.endpoint, resolver)


def _authoritative(system: NameResolver, now: Callable[[], float]) -> NameResolver:
    from target_sync.endpoints.authoritative import AuthoritativeResolver  # noqa: PLC0415 - above

    return AuthoritativeResolver(now=now, system=system)


def _instance_endpoint(settings: Settings, now: Callable[[], float]) -> Endpoint:
    from target_sync.endpoints.ec2 import InstanceEndpoint  # noqa: PLC0415 - see above

    return InstanceEndpoint(settings.endpoint, make_client("ec2"), now)


def _cluster_endpoint(
    settings: Settings, resolver: NameResolver, now: Callable[[], float]
) -> Endpoint:
    from target_sync.endpoints.cluster import RdsCluster, cluster_endpoint  # noqa: PLC0415 - see above

    return cluster_endpoint(
        settings.kind,
        settings.endpoint,
        RdsCluster(make_client("rds"), settings.identifier),
        resolver,
        now,
        follow_writer=settings.follow_writer,
    )
