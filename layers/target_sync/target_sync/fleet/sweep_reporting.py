"""The records of sweeps and watches in the log, and a few figures, through Powertools."""

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from target_sync.fleet.model import WorkReason
from target_sync.fleet.result import SweepResult, WatchResult

#: Findings of one log record. More would be more than CloudWatch takes as one event (256 KB).
FINDINGS_IN_A_RECORD = 200


class PowertoolsSweepReporter:
    """Implements ``target_sync.fleet.sweeper.SweepReporter``.

    Service, namespace and level come from the ``POWERTOOLS_*`` variables of the template.
    """

    def __init__(self) -> None:
        self._logger = Logger()
        self._metrics = Metrics()

    def report(self, result: SweepResult) -> None:
        """Write the sweep's record, and its metrics; a dry run has none."""
        log = self._logger.warning if result.findings else self._logger.info
        document = dict(result.to_document())
        for start in range(0, max(1, len(result.findings)), FINDINGS_IN_A_RECORD):
            told = result.findings[start : start + FINDINGS_IN_A_RECORD]
            document["findings"] = [finding.to_document() for finding in told]
            log("sweep ended", extra={"result": document})
        if result.dry_run:
            return
        counts = {
            "SweepSucceeded": 1,
            "GroupsBound": result.bound,
            "GroupsWithFindings": len(result.findings),
            "GroupsChanged": result.count(WorkReason.ANSWER_CHANGED),
            "GroupsUnverified": result.count(WorkReason.UNVERIFIED),
            "GroupsAudited": result.count(WorkReason.AUDIT),
            "GroupsPostponed": result.postponed,
        }
        for name, value in counts.items():
            self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
        self._metrics.flush_metrics()


class PowertoolsWatchReporter:
    """Implements ``target_sync.fleet.watcher.WatchReporter``."""

    def __init__(self) -> None:
        self._logger = Logger()

    def report(self, result: WatchResult) -> None:
        """Write the watch's one record."""
        troubled = result.unreadable or result.failures
        log = self._logger.warning if troubled else self._logger.info
        log("watch ended", extra={"result": result.to_document()})
