"""One record per look, through Powertools: JSON on standard output."""

from aws_lambda_powertools.logging import Logger

from target_sync.core.diagnosis import Diagnosis


class PowertoolsStatusReporter:
    """Implements ``target_sync.status.survey.StatusReporter``."""

    def __init__(self) -> None:
        self._logger = Logger()

    def report(self, diagnosis: Diagnosis) -> None:
        """Write the one record of a look."""
        self._logger.info("status reported", extra={"result": diagnosis.to_document()})
