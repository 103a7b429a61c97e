"""Builds the sweeper, once per container."""

import functools
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

from botocore.config import Config

from target_sync.aws import CLIENT_CONFIG, make_client
from target_sync.clock import SystemClock
from target_sync.endpoints.cluster import RdsCluster, cluster_endpoint
from target_sync.endpoints.dns import DnsEndpoint, make_resolver
from target_sync.fleet.groups import AwsGroups, BoundGroups
from target_sync.fleet.model import EndpointKey
from target_sync.fleet.planner import RunPlanner
from target_sync.fleet.rate_limiter import CallRateLimiter, ThrottlingCounter
from target_sync.fleet.rate_limits import CallBudget
from target_sync.fleet.runs import GroupRuns
from target_sync.fleet.settings import FleetSettings, load_fleet_settings
from target_sync.fleet.sweeper import Sweeper, names_schedule, readers_schedule
from target_sync.model import DatabaseKind
from target_sync.ports import Endpoint
from target_sync.reporting import PowertoolsReporter
from target_sync.targets.target_group import ElbTargetGroup

#: The threads for the steps of the runs. A thread waits only while a call does not return.
CALL_THREADS = 32


@functools.cache
def sweeper() -> Sweeper:
    """Return the sweeper of this container, built from its environment on the first call."""
    return build_sweeper(os.environ)


def build_sweeper(environ: Mapping[str, str]) -> Sweeper:
    """Build a sweeper from an environment."""
    settings, clock = load_fleet_settings(environ), SystemClock()
    elb = _shared_client("elbv2")
    endpoints = _Endpoints(settings, clock.now)
    budget = CallBudget.of(clock.now(), settings.share)
    return Sweeper(
        groups=BoundGroups(
            groups=AwsGroups(make_client("resourcegroupstaggingapi"), elb, make_client("ec2")),
            limits=settings.limits,
            region=elb.meta.region_name,
            clock=clock,
        ),
        endpoint=endpoints.to_poll,
        runs=GroupRuns(
            clock=clock,
            target_group=lambda it: ElbTargetGroup(elb, it.arn, it.vpc_networks),
            endpoint=lambda it: endpoints.of(*it.endpoint_key),
            rate_limiter=CallRateLimiter(clock, budget, ThrottlingCounter(elb).count),
            reporter=lambda it: PowertoolsReporter(it.log_context),
        ),
        planner=RunPlanner(Random().shuffle),  # noqa: S311 - a sequence, no secret
        polling=ThreadPoolExecutor(names_schedule().most_at_once + readers_schedule().most_at_once),
        calling=ThreadPoolExecutor(CALL_THREADS),
        clock=clock,
        reporter=PowertoolsReporter(),
    )


class _Endpoints:
    """Makes endpoints, in one thread. All of them share the resolver and the client.

    Many threads may use both: dnspython keeps the state of a look-up in an object of its own
    (``dns.resolver._Resolution``) and has no cache unless it is given one. A client of botocore is
    safe for many threads once it is made (boto3 guide, *Low-level clients*).
    """

    def __init__(self, settings: FleetSettings, now: Callable[[], float]) -> None:
        self._resolver = make_resolver(settings.resolvers, now)
        self._now = now

    # Many fleets have no cluster and start without this client.
    @functools.cached_property
    def _rds(self) -> Any:
        return _shared_client("rds")

    def of(self, kind: DatabaseKind, name: str) -> Endpoint:
        """Return the endpoint for a run."""
        if not kind.is_cluster:
            return DnsEndpoint(name, self._resolver)
        cluster = RdsCluster(self._rds, name.partition(".")[0])
        return cluster_endpoint(kind, name, cluster, self._resolver, self._now)

    def to_poll(self, key: EndpointKey) -> Endpoint:
        """Return the endpoint for polls.

        The writer of a cluster is polled by the cluster's name alone, which shows every change.
        Readers need the RDS API, because no name has them all.
        """
        kind, name = key
        if kind is DatabaseKind.RDS_CLUSTER_READERS:
            return self.of(kind, name)
        return DnsEndpoint(name, self._resolver)


def _shared_client(service: str) -> Any:
    """Return a client for all threads: by default botocore keeps ten connections only."""
    return make_client(service, CLIENT_CONFIG.merge(Config(max_pool_connections=CALL_THREADS)))
