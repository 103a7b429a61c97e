"""Builds the parts of ReportStatusFunction, once per container."""

import functools
import os
import time
from collections.abc import Mapping
from typing import Any

from botocore.config import Config

from target_sync.aws import CLIENT_CONFIG, make_client
from target_sync.clock import SystemClock
from target_sync.config import Settings
from target_sync.endpoint_service import Ec2EndpointService
from target_sync.endpoints.build import endpoint_of
from target_sync.model import DatabaseKind
from target_sync.reporting import PowertoolsReporter
from target_sync.status.collector import StatusCollector
from target_sync.status.settings import StatusSettings, load_status_settings
from target_sync.status.sources.databases import AwsDatabase
from target_sync.status.sources.load_balancers import ElbLoadBalancers
from target_sync.status.sources.metrics import CloudWatchMetrics
from target_sync.status.sources.networks import Ec2Networks
from target_sync.status.sources.operation import EventBridgeSchedule, SqsQueues
from target_sync.status.sources.postgres import PostgresProbe
from target_sync.targets.auto_scaling import AutoScalingGroups
from target_sync.targets.network_interfaces import network_interfaces_of
from target_sync.targets.outbound_rules import SecurityGroupRules

#: Two attempts of a call fit into the time for a report. Parallel queries need many connections.
STATUS_CONFIG = CLIENT_CONFIG.merge(
    Config(
        max_pool_connections=16,
        read_timeout=4,
        retries={"mode": "standard", "total_max_attempts": 2},
    )
)


@functools.cache
def status_collector() -> StatusCollector:
    """Return the collector of this container, built from its environment on the first call."""
    return build_status_collector(os.environ)


def build_status_collector(environ: Mapping[str, str]) -> StatusCollector:
    """Build a collector from an environment."""
    settings = load_status_settings(environ)
    deployment, sync, clock = settings.deployment, settings.sync, SystemClock()
    ec2, group = make_client("ec2", STATUS_CONFIG), deployment.outbound_rules_group
    return StatusCollector(
        settings=settings,
        endpoint=endpoint_of(sync, clock.now) if sync else None,
        database=_database(sync, deployment.identifier, ec2) if sync else None,
        standbys=network_interfaces_of(ec2, sync) if sync and sync.policy.serving_standby else None,
        balancers=ElbLoadBalancers(make_client("elbv2", STATUS_CONFIG)),
        networks=Ec2Networks(ec2),
        scaling=AutoScalingGroups(make_client("autoscaling", STATUS_CONFIG)),
        outbound_rules=SecurityGroupRules(ec2, group, deployment.policy.port) if group else None,
        service=Ec2EndpointService(ec2, deployment.service_id) if deployment.service_id else None,
        metrics=_metrics(settings) if deployment.schedule else None,
        schedule=_schedule(deployment.schedule) if deployment.schedule else None,
        queues=SqsQueues(make_client("sqs", STATUS_CONFIG)),
        probe=PostgresProbe() if settings.function_subnets else None,
        reporter=PowertoolsReporter(),
        now=clock.now,
        wall_clock=time.time,
    )


def _database(sync: Settings, identifier: str, ec2: Any) -> AwsDatabase | None:
    if sync.kind in {DatabaseKind.HOSTNAME, DatabaseKind.STATIC}:
        return None
    is_ec2 = sync.kind is DatabaseKind.EC2_INSTANCE
    client = ec2 if is_ec2 else make_client("rds", STATUS_CONFIG)
    return AwsDatabase(sync.kind, identifier, sync.endpoint, client)


def _metrics(settings: StatusSettings) -> CloudWatchMetrics:
    client = make_client("cloudwatch", STATUS_CONFIG)
    return CloudWatchMetrics(client, settings.namespace, settings.deployment.stack, time.time)


def _schedule(name: str) -> EventBridgeSchedule:
    return EventBridgeSchedule(make_client("scheduler", STATUS_CONFIG), name)
