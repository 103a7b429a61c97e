"""Puts the parts together, once per container."""

import functools
import os
from collections.abc import Mapping

from target_sync.adapters.aws import make_client
from target_sync.adapters.clock import SystemClock
from target_sync.adapters.dns import DnsEndpoint, NameServer
from target_sync.adapters.target_groups import ElbTargetGroup
from target_sync.observability import PowertoolsReporter
from target_sync.settings import load_settings
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
    name_servers = [NameServer(address, port) for address, port in settings.resolvers]
    return Synchronizer(
        endpoint=DnsEndpoint(settings.endpoint, now=clock.now, name_servers=name_servers),
        target_group=ElbTargetGroup(make_client("elbv2"), settings.target_group_arn),
        policy=settings.policy,
        clock=clock,
        reporter=PowertoolsReporter(),
        watch_seconds=settings.watch_seconds,
    )
