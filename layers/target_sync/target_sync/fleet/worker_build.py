"""Builds the worker, once per container."""

import functools
import os
from collections.abc import Callable, Mapping

from target_sync.aws import make_client
from target_sync.clock import SystemClock
from target_sync.endpoints.dns import DnsEndpoint, make_resolver
from target_sync.fleet.model import Binding
from target_sync.fleet.rate_limiter import CallRateLimiter, ThrottlingCounter
from target_sync.fleet.rate_limits import CallBudget
from target_sync.fleet.settings import FleetSettings, load_fleet_settings
from target_sync.fleet.worker import LogContext, Worker
from target_sync.ports import Endpoint, LogRecord
from target_sync.reporting import PowertoolsReporter
from target_sync.targets.target_group import ElbGroupTags, ElbTargetGroup


class PowertoolsWorkerReporter:
    """Implements ``target_sync.fleet.worker.WorkerReporter``."""

    def for_run(self, context: LogContext) -> PowertoolsReporter:
        """Return the reporter of one run."""
        return PowertoolsReporter(context)

    def report_failure(self, context: LogContext, error: Exception) -> None:
        """Log a permanent failure, which counts as a failed run."""
        record = LogRecord(
            message="work item failed",
            fields={"failure": str(error)},
            level="error",
            counts={"SyncFailed": 1},
        )
        self.for_run(context).write(record)

    def report_retry(self, context: LogContext, error: Exception) -> None:
        """Log that SQS delivers a work item again, with the traceback of the failure."""
        record = LogRecord(message="work item will be retried", fields={}, level="warning")
        self.for_run(context).write(record, error)


@functools.cache
def worker() -> Worker:
    """Return the worker of this container, built on the first call from its environment."""
    return build_worker(os.environ)


def build_worker(environ: Mapping[str, str]) -> Worker:
    """Build a worker from an environment."""
    settings, clock, client = load_fleet_settings(environ), SystemClock(), make_client("elbv2")
    budget = CallBudget.of(clock.now(), share=settings.share, workers=settings.workers)
    return Worker(
        clock=clock,
        target_group=lambda it: ElbTargetGroup(client, it.arn, it.vpc_networks),
        tags=ElbGroupTags(client),
        rate_limiter=CallRateLimiter(clock, budget, ThrottlingCounter(client).count),
        endpoint=_endpoints(settings, clock.now),
        reporter=PowertoolsWorkerReporter(),
        key=settings.key,
    )


def _endpoints(settings: FleetSettings, now: Callable[[], float]) -> Callable[[Binding], Endpoint]:
    """Return what makes the endpoint of a binding."""
    resolver = make_resolver(settings.resolvers, now)
    rds_client = functools.cache(lambda: make_client("rds"))

    def endpoint(binding: Binding) -> Endpoint:
        if not binding.kind.is_cluster:
            return DnsEndpoint(binding.endpoint, resolver)
        # Many fleets have no cluster and start without this module.
        from target_sync.endpoints.cluster import RdsCluster, cluster_endpoint  # noqa: PLC0415

        cluster = RdsCluster(rds_client(), binding.identifier)
        return cluster_endpoint(binding.kind, binding.endpoint, cluster, resolver, now)

    return endpoint
