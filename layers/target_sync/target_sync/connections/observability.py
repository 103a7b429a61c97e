"""One record and a few figures per run, through Powertools: JSON and EMF on standard output."""

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from target_sync.core.connections import AnswerResult


class PowertoolsAnswerReporter:
    """Implements ``target_sync.connections.answering.AnswerReporter``.

    Service, namespace and level come from the ``POWERTOOLS_*`` variables of the template.
    """

    def __init__(self) -> None:
        self._logger = Logger()
        self._metrics = Metrics()

    def report(self, result: AnswerResult) -> None:
        """Write the run's one record, and its metrics."""
        log = self._logger.error if result.failures else self._logger.info
        log("answer run ended", extra={"result": result.to_document()})
        counts = {
            "ConnectionsAccepted": len(result.accepted),
            "ConnectionsRejected": len(result.rejected),
            "ConnectionsWaiting": len(result.waiting),
            "ConnectionAnswersFailed": len(result.failures),
            "MessagesFailed": len(result.untold),
        }
        for name, value in counts.items():
            self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
        self._metrics.flush_metrics()
