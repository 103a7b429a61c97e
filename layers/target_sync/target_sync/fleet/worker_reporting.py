"""What a worker writes of its orders, through Powertools: JSON and EMF on standard output."""

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from target_sync.fleet.worker import LogContext
from target_sync.reconcile.reconciler import Reporter
from target_sync.reconcile.reporting import PowertoolsReporter


class PowertoolsWorkerReporter:
    """Implements ``target_sync.fleet.worker.Reports``.

    Service, namespace and level come from the ``POWERTOOLS_*`` variables of the template.
    """

    def __init__(self) -> None:
        self._logger = Logger()
        self._metrics = Metrics()

    def of(self, subject: LogContext) -> Reporter:
        """Who writes the record of a run."""
        return PowertoolsReporter(subject)

    def failed(self, subject: LogContext, error: Exception) -> None:
        """Write that something failed for good; it counts as a run that failed."""
        self._logger.error("work item failed", extra={**subject, "failure": str(error)})
        self._metrics.add_metric(name="SyncFailed", unit=MetricUnit.Count, value=1)
        self._metrics.flush_metrics()

    def comes_again(self, subject: LogContext, error: Exception) -> None:
        """Write that an order comes again, with where it failed: it may be a mistake of ours."""
        self._logger.warning("work item will be retried", exc_info=error, extra={**subject})
