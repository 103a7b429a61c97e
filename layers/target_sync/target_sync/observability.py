"""One record and a few figures per run, through Powertools: JSON and EMF on standard output.

EMF needs no permission and no endpoint: CloudWatch reads the metrics out of the log
(CloudWatch user guide, embedded metric format).
"""

from collections.abc import Mapping

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from target_sync.core.convergence import Convergence, Status
from target_sync.core.result import SyncResult

#: Each of these came to its end. What is wrong with one of them has a count of its own.
_SUCCEEDED = frozenset(
    {Status.IN_SYNC, Status.SYNCED, Status.UNHEALTHY, Status.VETOED, Status.UNFINISHED}
)


class PowertoolsReporter:
    """Implements ``target_sync.synchronizer.Reporter``.

    Service, namespace and level come from the ``POWERTOOLS_*`` variables of the template.

    Args:
        subject: What the run is about, for the log, where one function serves several.
    """

    def __init__(self, subject: Mapping[str, str] | None = None) -> None:
        self._subject = subject or {}
        self._logger = Logger()
        self._metrics = Metrics()

    def looked(self, convergence: Convergence) -> None:
        """Log one look in detail, at level DEBUG only."""
        seen = {"look": convergence.look, "plan": convergence.plan}
        self._logger.debug("looked", extra={**self._subject, **seen})

    def report(self, result: SyncResult) -> None:
        """Write the run's one record, and its metrics."""
        log = self._logger.error if result.status is Status.FAILED else self._logger.info
        log("sync run ended", extra={**self._subject, "result": result.to_document()})
        for name, unit, value in _figures(result):
            self._metrics.add_metric(name=name, unit=unit, value=value)
        self._metrics.flush_metrics()


def _figures(result: SyncResult) -> list[tuple[str, MetricUnit, float]]:
    """The metrics of a run. A success stamp that stays away is what an alarm listens for."""
    run = result.convergence
    counts = {
        "SyncSucceeded": int(result.status in _SUCCEEDED),
        "SyncFailed": int(result.status is Status.FAILED),
        "SyncUnfinished": int(result.status is Status.UNFINISHED),
        "SyncVetoed": int(result.status is Status.VETOED),
        "SyncUnhealthy": int(result.status is Status.UNHEALTHY),
        # Failures that the run outlived count too.
        "CallsFailed": run.failures,
        "MessagesFailed": len(result.untold),
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
