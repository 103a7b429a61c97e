"""Puts the parts of a worker together, once per container."""

import functools
import os
from collections.abc import Callable, Mapping

from target_sync.adapters.aws import make_client
from target_sync.adapters.clock import SystemClock
from target_sync.adapters.dns import DnsEndpoint, make_resolver
from target_sync.adapters.target_groups import ElbGroupTags, ElbTargetGroup
from target_sync.adapters.throttlings import Throttlings
from target_sync.core.fleet.budget import Budget
from target_sync.core.fleet.model import Binding
from target_sync.core.ports import Endpoint
from target_sync.fleet.pacing import Pacer
from target_sync.fleet.settings import FleetSettings, load_fleet_settings
from target_sync.fleet.work_reporting import WorkReports
from target_sync.fleet.working import Worker


@functools.cache
def worker() -> Worker:
    """The worker of this container, made on the first call from its environment.

    Raises:
        SettingsError: A variable of the environment is missing or wrong.
    """
    return build_worker(os.environ)


def build_worker(environ: Mapping[str, str]) -> Worker:
    """Make a worker from an environment."""
    settings, clock, client = load_fleet_settings(environ), SystemClock(), make_client("elbv2")
    budget = Budget.of(clock.now(), share=settings.share, workers=settings.workers)
    return Worker(
        clock=clock,
        target_group=lambda bound: ElbTargetGroup(client, bound.arn, bound.vpc_networks),
        tags=ElbGroupTags(client),
        pacer=Pacer(clock, budget, Throttlings(client).count),
        endpoint=_endpoints(settings, clock.now),
        reports=WorkReports(),
        key=settings.key,
    )


def _endpoints(settings: FleetSettings, now: Callable[[], float]) -> Callable[[Binding], Endpoint]:
    """How the database of a binding is observed."""
    resolver = make_resolver(settings.resolvers, now)
    rds_client = functools.cache(lambda: make_client("rds"))

    def endpoint(binding: Binding) -> Endpoint:
        if not binding.kind.is_cluster:
            return DnsEndpoint(binding.endpoint, resolver)
        # Many fleets follow no cluster and start without it.
        from target_sync.adapters import rds  # noqa: PLC0415

        cluster = rds.RdsCluster(rds_client(), binding.identifier)
        return rds.cluster_endpoint(binding.kind, binding.endpoint, cluster, resolver, now)

    return endpoint
