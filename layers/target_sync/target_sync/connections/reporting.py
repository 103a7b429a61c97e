"""One log record (JSON) and the metrics (EMF) of each run, on standard output."""

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from target_sync.connections.result import ReviewResult


class PowertoolsReviewReporter:
    """Implements ``target_sync.connections.reviewer.ReviewReporter``.

    Service, namespace and level come from the ``POWERTOOLS_*`` variables of the template.
    """

    def __init__(self) -> None:
        self._logger = Logger()
        self._metrics = Metrics()

    def report(self, result: ReviewResult) -> None:
        """Write one log record and the metrics of the run."""
        log = self._logger.error if result.failures else self._logger.info
        log("connection review ended", extra={"result": result.to_document()})
        counts = {
            "ConnectionsAccepted": len(result.accepted),
            "ConnectionsRejected": len(result.rejected),
            "ConnectionsWaiting": len(result.waiting),
            "ConnectionReviewsFailed": len(result.failures),
            "NotificationsFailed": len(result.undelivered_notifications),
        }
        for name, value in counts.items():
            self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
        self._metrics.flush_metrics()
