"""Puts the parts together, once per container."""

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from target_sync.adapters.aws import make_client
from target_sync.adapters.clock import SystemClock
from target_sync.adapters.static import StaticEndpoint
from target_sync.adapters.target_groups import ElbTargetGroup
from target_sync.core.model import DatabaseKind
from target_sync.core.ports import Endpoint, NameResolver, Standbys
from target_sync.core.result import SyncResult
from target_sync.observability import PowertoolsReporter
from target_sync.settings import Resolution, Settings, load_settings
from target_sync.synchronizer import Synchronizer


@functools.cache
def synchronizer() -> Synchronizer:
    """The synchronizer of this container, made on the first call from its environment.

    Raises:
        SettingsError: A variable of the environment is missing or wrong.
    """
    return build_synchronizer(os.environ)


def build_synchronizer(environ: Mapping[str, str]) -> Synchronizer:
    """Make a synchronizer from an environment."""
    settings = load_settings(environ)
    clock = SystemClock()
    return Synchronizer(
        endpoint=endpoint_of(settings, clock.now),
        target_group=ElbTargetGroup(
            make_client("elbv2"), settings.target_group_arn, settings.vpc_networks
        ),
        policy=settings.policy,
        clock=clock,
        reporter=PowertoolsReporter(),
        watch_seconds=settings.watch_seconds,
        poll_seconds=settings.poll_seconds,
        standbys=standbys_of(settings) if settings.policy.keep_standby else None,
        teller=_Teller(settings),
    )


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


# What only some stacks or runs need is imported where it is needed: the others start without it.


def _resolver(settings: Settings, now: Callable[[], float]) -> NameResolver:
    from target_sync.adapters.dns import make_resolver  # noqa: PLC0415 - see above

    resolver = make_resolver(settings.resolvers, now)
    if settings.resolution is Resolution.SYSTEM:
        return resolver
    return _authoritative(resolver, now)


def _named_endpoint(settings: Settings, resolver: NameResolver) -> Endpoint:
    from target_sync.adapters.dns import DnsEndpoint  # noqa: PLC0415 - see above

    return DnsEndpoint(settings.endpoint, resolver)


@dataclass(frozen=True, slots=True)
class _Teller:
    """Implements ``target_sync.synchronizer.Teller``."""

    settings: Settings

    def tell(self, result: SyncResult, *, changed_ago: float) -> tuple[str, ...]:
        from target_sync.core.messages import Sender  # noqa: PLC0415 - see above
        from target_sync.messages.wiring import tell_of_sync  # noqa: PLC0415 - see above

        sender = Sender(stack=self.settings.stack, resource=self.settings.target_group_arn)
        topic = self.settings.alarm_topic_arn
        return tell_of_sync(result, sender, topic, changed_ago=changed_ago)


def _authoritative(system: NameResolver, now: Callable[[], float]) -> NameResolver:
    from target_sync.adapters.authoritative import AuthoritativeResolver  # noqa: PLC0415 - above

    return AuthoritativeResolver(now=now, system=system)


def standbys_of(settings: Settings) -> Standbys:
    """Who knows whether an address is the database's, where its standby's target stays."""
    from target_sync.adapters.network_interfaces import (  # noqa: PLC0415 - see above
        RdsNetworkInterfaces,
    )

    return RdsNetworkInterfaces(make_client("ec2"), settings.vpc_id, settings.security_groups)


def _instance_endpoint(settings: Settings, now: Callable[[], float]) -> Endpoint:
    from target_sync.adapters.ec2 import InstanceEndpoint  # noqa: PLC0415 - see above

    return InstanceEndpoint(settings.endpoint, make_client("ec2"), now)


def _cluster_endpoint(
    settings: Settings, resolver: NameResolver, now: Callable[[], float]
) -> Endpoint:
    from target_sync.adapters import rds  # noqa: PLC0415 - see above

    return rds.cluster_endpoint(
        settings.kind,
        settings.endpoint,
        rds.RdsCluster(make_client("rds"), settings.identifier),
        resolver,
        now,
        follow_writer=settings.follow_writer,
    )
