"""Builds the sweeper and the watcher, once per container.

Apart from ``worker_build``, so that a worker starts without their modules.
"""

import functools
import os
import time
from collections.abc import Mapping

from target_sync.aws import make_client
from target_sync.clock import SystemClock
from target_sync.endpoints.cluster import ClusterReadersEndpoint, RdsCluster
from target_sync.endpoints.dns import make_resolver
from target_sync.fleet.groups import BoundGroups, ElbGroupFacts, TaggedGroups
from target_sync.fleet.name_lookups import ALL_SECONDS, NameLookups, make_shared_client
from target_sync.fleet.queues import SqsDatabaseEvents, SqsWorkQueue
from target_sync.fleet.settings import FleetSettings, load_fleet_settings, queue_url
from target_sync.fleet.sweeper import Sweeper
from target_sync.fleet.watcher import Watcher
from target_sync.model import scope_of_function
from target_sync.ports import Clock, Endpoint
from target_sync.reporting import PowertoolsReporter

#: The time limit for the look-ups of one iteration: longer than the time-out of one name, shorter
#: than the time that a watch reserves for its end.
WATCHED_NAMES_SECONDS = 8.0


@functools.cache
def sweeper(function_arn: str) -> Sweeper:
    """Return the sweeper of this container. The ARN contains the fleet's account and Region."""
    return build_sweeper(os.environ, function_arn)


@functools.cache
def watcher(function_arn: str) -> Watcher:
    """Return the watcher of this container."""
    return build_watcher(os.environ, function_arn)


def build_sweeper(environ: Mapping[str, str], function_arn: str) -> Sweeper:
    """Build a sweeper from an environment."""
    settings, clock = load_fleet_settings(environ), SystemClock()
    return Sweeper(
        groups=_groups(settings, function_arn, clock),
        lookups=_lookups(settings, clock),
        queue=SqsWorkQueue(make_client("sqs"), queue_url(environ, "WORK_QUEUE_URL")),
        key=settings.key,
        share=settings.share,
        clock=clock,
        epoch=time.time,
        reporter=PowertoolsReporter(),
    )


def build_watcher(environ: Mapping[str, str], function_arn: str) -> Watcher:
    """Build a watcher from an environment."""
    settings, clock = load_fleet_settings(environ), SystemClock()
    sqs = make_client("sqs")
    return Watcher(
        groups=_groups(settings, function_arn, clock),
        lookups=_lookups(settings, clock, WATCHED_NAMES_SECONDS),
        queue=SqsWorkQueue(sqs, queue_url(environ, "WORK_QUEUE_URL")),
        events=SqsDatabaseEvents(sqs, queue_url(environ, "EVENT_QUEUE_URL")),
        key=settings.key,
        watch_seconds=settings.watch_seconds,
        clock=clock,
        epoch=time.time,
        reporter=PowertoolsReporter(),
    )


def _groups(settings: FleetSettings, function_arn: str, clock: Clock) -> BoundGroups:
    return BoundGroups(
        tagged_groups=TaggedGroups(make_client("resourcegroupstaggingapi")),
        facts=ElbGroupFacts(make_client("elbv2"), make_client("ec2")),
        limits=settings.limits,
        scope=scope_of_function(function_arn),
        clock=clock,
    )


def _lookups(settings: FleetSettings, clock: Clock, seconds: float = ALL_SECONDS) -> NameLookups:
    resolver = make_resolver(settings.resolvers, clock.now)
    # Most fleets have no cluster readers and start without this client.
    rds_client = functools.cache(lambda: make_shared_client("rds"))

    def readers(name: str) -> Endpoint:
        cluster = RdsCluster(rds_client(), name.partition(".")[0])
        return ClusterReadersEndpoint(name, cluster, resolver, clock.now)

    return NameLookups(resolver=resolver, readers=readers, now=clock.now, seconds=seconds)
