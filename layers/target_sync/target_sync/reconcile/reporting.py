"""One record and a few figures per run, through Powertools: JSON and EMF on standard output.

EMF needs no permission and no endpoint: CloudWatch reads the metrics out of the log
(CloudWatch user guide, embedded metric format).
"""

from collections.abc import Mapping

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from target_sync.model import RunStatus
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.result import SyncResult

#: Each of these came to its end. What is wrong with one of them has a count of its own.
_SUCCEEDED = frozenset(
    {
        RunStatus.IN_SYNC,
        RunStatus.SYNCED,
        RunStatus.UNHEALTHY,
        RunStatus.VETOED,
        RunStatus.UNFINISHED,
    }
)


class PowertoolsReporter:
    """Implements ``target_sync.reconcile.reconciler.Reporter``.

    Service, namespace and level come from the ``POWERTOOLS_*`` variables of the template.

    Args:
        subject: What the run is about, for the log, where one function serves several.
    """

    def __init__(self, subject: Mapping[str, str] | None = None) -> None:
        self._subject = subject or {}
        self._logger = Logger()
        self._metrics = Metrics()

    def report_iteration(self, run: RunState) -> None:
        """Log one look in detail, at level DEBUG only."""
        seen = {"snapshot": run.snapshot, "plan": run.plan}
        self._logger.debug("iteration", extra={**self._subject, **seen})

    def report(self, result: SyncResult) -> None:
        """Write the run's one record, and its metrics."""
        log = self._logger.error if result.status is RunStatus.FAILED else self._logger.info
        log("sync run ended", extra={**self._subject, "result": result.to_document()})
        for name, unit, value in _figures(result):
            self._metrics.add_metric(name=name, unit=unit, value=value)
        self._metrics.flush_metrics()


def _figures(result: SyncResult) -> list[tuple[str, MetricUnit, float]]:
    """The metrics of a run. A success stamp that stays away is what an alarm listens for."""
    run = result.run
    counts = {
        "SyncSucceeded": int(result.status in _SUCCEEDED),
        "SyncFailed": int(result.status is RunStatus.FAILED),
        "SyncUnfinished": int(result.status is RunStatus.UNFINISHED),
        "SyncVetoed": int(result.status is RunStatus.VETOED),
        "SyncUnhealthy": int(result.status is RunStatus.UNHEALTHY),
        # Failures that the run outlived count too.
        "CallsFailed": run.failures,
        "NotificationsFailed": len(result.undelivered_notifications),
        "TargetsRegistered": len(run.registered),
        "TargetsDeregistered": len(run.deregistered),
    }
    figures: list[tuple[str, MetricUnit, float]] = [
        (name, MetricUnit.Count, value) for name, value in counts.items()
    ]
    for name, seconds in result.seconds.items():
        if seconds is not None:
            figures.append((_SECONDS[name], MetricUnit.Seconds, seconds))
    return figures


_SECONDS = {
    "to_detect": "SecondsToDetect",
    "to_register": "SecondsToRegister",
    "to_healthy": "SecondsToHealthy",
}
