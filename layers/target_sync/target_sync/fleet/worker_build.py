"""Puts the parts of a worker together, once per container."""

import functools
import os
from collections.abc import Callable, Mapping

from target_sync.aws import make_client
from target_sync.clock import SystemClock
from target_sync.endpoints.dns import DnsEndpoint, make_resolver
from target_sync.fleet.model import Binding
from target_sync.fleet.rate_limiter import CallRateLimiter
from target_sync.fleet.rate_limits import CallBudget
from target_sync.fleet.settings import FleetSettings, load_fleet_settings
from target_sync.fleet.throttlings import Throttlings
from target_sync.fleet.worker import LogContext, Worker
from target_sync.ports import Endpoint, LogRecord
from target_sync.reporting import PowertoolsReporter
from target_sync.targets.target_group import ElbGroupTags, ElbTargetGroup


class PowertoolsWorkerReporter:
    """Implements ``target_sync.fleet.worker.WorkerReporter``."""

    def of(self, subject: LogContext) -> PowertoolsReporter:
        """Return the reporter of one run."""
        return PowertoolsReporter(subject)

    def failed(self, subject: LogContext, error: Exception) -> None:
        """Write that a work item failed and is not retried. It counts as a failed run."""
        self.of(subject).write(
            LogRecord(
                message="work item failed",
                fields={"failure": str(error)},
                level="error",
                counts={"SyncFailed": 1},
            )
        )

    def comes_again(self, subject: LogContext, error: Exception) -> None:
        """Write that SQS delivers a work item again, with the traceback."""
        record = LogRecord(message="work item will be retried", fields={}, level="warning")
        self.of(subject).write(record, error)


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
    budget = CallBudget.of(clock.now(), share=settings.share, workers=settings.workers)
    return Worker(
        clock=clock,
        target_group=lambda bound: ElbTargetGroup(client, bound.arn, bound.vpc_networks),
        tags=ElbGroupTags(client),
        rate_limiter=CallRateLimiter(clock, budget, Throttlings(client).count),
        endpoint=_endpoints(settings, clock.now),
        reports=PowertoolsWorkerReporter(),
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
        from target_sync.endpoints.cluster import RdsCluster, cluster_endpoint  # noqa: PLC0415

        cluster = RdsCluster(rds_client(), binding.identifier)
        return cluster_endpoint(binding.kind, binding.endpoint, cluster, resolver, now)

    return endpoint
