"""Puts the parts of the sweep and of the watch together, once per container."""

import functools
import os
import time
from collections.abc import Mapping

from target_sync.aws import make_client
from target_sync.clock import SystemClock
from target_sync.endpoints.cluster import ClusterReadersEndpoint, RdsCluster
from target_sync.endpoints.dns import make_resolver
from target_sync.fleet.bound_groups import BoundGroups
from target_sync.fleet.database_events import SqsDatabaseEvents
from target_sync.fleet.group_facts import ElbGroupFacts
from target_sync.fleet.name_lookups import ALL_SECONDS, NameLookups, make_shared_client
from target_sync.fleet.settings import (
    FleetSettings,
    event_queue_url,
    load_fleet_settings,
    work_queue_url,
)
from target_sync.fleet.sweeper import Sweeper
from target_sync.fleet.tagged_groups import TaggedGroups
from target_sync.fleet.watcher import Watcher
from target_sync.fleet.work_queue import SqsWorkQueue
from target_sync.model import scope_of_function
from target_sync.ports import Clock, Endpoint
from target_sync.reporting import PowertoolsReporter

#: For one look of a watch: time for a name that nobody answers for, and none of what the watch
#: keeps back for its end.
WATCHED_NAMES_SECONDS = 8.0


@functools.cache
def sweeper(function_arn: str) -> Sweeper:
    """The sweeper of this container, made on the first call from its environment.

    Args:
        function_arn: The function's own ARN, which says whose target groups the fleet's are.

    Raises:
        SettingsError: A variable of the environment is missing or wrong.
    """
    return build_sweeper(os.environ, function_arn)


@functools.cache
def watcher(function_arn: str) -> Watcher:
    """The watcher of this container, in the same way."""
    return build_watcher(os.environ, function_arn)


def build_sweeper(environ: Mapping[str, str], function_arn: str) -> Sweeper:
    """Make a sweeper from an environment."""
    settings, clock = load_fleet_settings(environ), SystemClock()
    return Sweeper(
        groups=_groups(settings, function_arn, clock),
        names=_names(settings, clock),
        queue=SqsWorkQueue(make_client("sqs"), work_queue_url(environ)),
        key=settings.key,
        share=settings.share,
        clock=clock,
        epoch=time.time,
        reporter=PowertoolsReporter(),
    )


def build_watcher(environ: Mapping[str, str], function_arn: str) -> Watcher:
    """Make a watcher from an environment."""
    settings, clock = load_fleet_settings(environ), SystemClock()
    sqs = make_client("sqs")
    return Watcher(
        groups=_groups(settings, function_arn, clock),
        names=_names(settings, clock, WATCHED_NAMES_SECONDS),
        queue=SqsWorkQueue(sqs, work_queue_url(environ)),
        events=SqsDatabaseEvents(sqs, event_queue_url(environ)),
        key=settings.key,
        watch_seconds=settings.watch_seconds,
        clock=clock,
        epoch=time.time,
        reporter=PowertoolsReporter(),
    )


def _groups(settings: FleetSettings, function_arn: str, clock: Clock) -> BoundGroups:
    return BoundGroups(
        groups=TaggedGroups(make_client("resourcegroupstaggingapi")),
        facts=ElbGroupFacts(make_client("elbv2"), make_client("ec2")),
        limits=settings.limits,
        place=scope_of_function(function_arn),
        clock=clock,
    )


def _names(settings: FleetSettings, clock: Clock, seconds: float = ALL_SECONDS) -> NameLookups:
    resolver = make_resolver(settings.resolvers, clock.now)
    # Most fleets follow no cluster's readers.
    rds_client = functools.cache(lambda: make_shared_client("rds"))

    def readers(name: str) -> Endpoint:
        cluster = RdsCluster(rds_client(), name.partition(".")[0])
        return ClusterReadersEndpoint(name, cluster, resolver, clock.now)

    return NameLookups(resolver=resolver, readers=readers, now=clock.now, seconds=seconds)
