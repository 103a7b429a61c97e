"""The log entry and the metrics of a run, written by Powertools as JSON on standard output.

The embedded metric format (EMF) needs no permission and no endpoint: CloudWatch extracts the
metrics from the log.
"""

from collections.abc import Mapping

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from target_sync.model import RunStatus
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.result import SyncResult

#: The run did not fail. Problems within such a run have metrics of their own.
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
        subject: Log fields that identify the target group, if a function serves several.
    """

    def __init__(self, subject: Mapping[str, str] | None = None) -> None:
        self._subject = subject or {}
        self._logger = Logger()
        self._metrics = Metrics()

    def report_iteration(self, run: RunState) -> None:
        """Log an iteration at level DEBUG."""
        details = {"snapshot": run.snapshot, "plan": run.plan}
        self._logger.debug("iteration", extra={**self._subject, **details})

    def report(self, result: SyncResult) -> None:
        """Write the log entry and the metrics of a run."""
        log = self._logger.error if result.status is RunStatus.FAILED else self._logger.info
        log("sync run ended", extra={**self._subject, "result": result.to_document()})
        for name, unit, value in _metrics(result):
            self._metrics.add_metric(name=name, unit=unit, value=value)
        self._metrics.flush_metrics()


def _metrics(result: SyncResult) -> list[tuple[str, MetricUnit, float]]:
    run = result.run
    counts = {
        "SyncSucceeded": int(result.status in _SUCCEEDED),
        "SyncFailed": int(result.status is RunStatus.FAILED),
        "SyncUnfinished": int(result.status is RunStatus.UNFINISHED),
        "SyncVetoed": int(result.status is RunStatus.VETOED),
        "SyncUnhealthy": int(result.status is RunStatus.UNHEALTHY),
        # Failures of retried calls count too.
        "CallsFailed": run.failures,
        "NotificationsFailed": len(result.undelivered_notifications),
        "TargetsRegistered": len(run.registered),
        "TargetsDeregistered": len(run.deregistered),
    }
    return [
        *((name, MetricUnit.Count, value) for name, value in counts.items()),
        *(
            (_SECONDS[name], MetricUnit.Seconds, seconds)
            for name, seconds in result.seconds.items()
            if seconds is not None
        ),
    ]


_SECONDS = {
    "to_detect": "SecondsToDetect",
    "to_register": "SecondsToRegister",
    "to_healthy": "SecondsToHealthy",
}
