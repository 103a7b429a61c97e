"""Writes one log record for each status report, through Powertools."""

from aws_lambda_powertools.logging import Logger

from target_sync.status.report import StatusReport


class PowertoolsStatusReporter:
    """Implements ``target_sync.status.collector.StatusReporter``."""

    def __init__(self) -> None:
        self._logger = Logger()

    def report(self, status_report: StatusReport) -> None:
        """Write one record."""
        self._logger.info("status reported", extra={"result": status_report.to_document()})
