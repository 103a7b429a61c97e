"""Reports the status of the connection path to people, pipelines and dashboards."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from target_sync.status.build import status_collector
from target_sync.status.request import parse_request

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: object, _context: "LambdaContext") -> Mapping[str, object] | str:
    """Return the status report in the requested format.

    Raises:
        TriggerError: The payload is not a valid request.
        SettingsError: A variable of the environment is missing or invalid.
    """
    return parse_request(event).respond(lambda: status_collector().run())
