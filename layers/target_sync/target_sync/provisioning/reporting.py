"""One record per request, through Powertools: JSON on standard output."""

from aws_lambda_powertools.logging import Logger

from target_sync.provisioning.request import Attributes, Request


class PowertoolsManagerReporter:
    """Implements ``target_sync.provisioning.manager.ManagerReporter``."""

    def __init__(self) -> None:
        self._logger = Logger()

    def report(self, request: Request, attributes: Attributes | None, reason: str) -> None:
        """Write the one record of a request. It never holds the URL of the answer."""
        log = self._logger.error if attributes is None else self._logger.info
        log(
            "custom resource answered",
            extra={
                "request": request.to_document(),
                "attributes": attributes,
                "reason": reason or None,
            },
        )
