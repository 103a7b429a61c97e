"""The door for a person, a pipeline or a dashboard that asks whether the road works."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from target_sync.status.build import status_collector
from target_sync.status.request import parse_request

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: object, _context: "LambdaContext") -> Mapping[str, object] | str:
    """Look at every step of the road, and answer in the form that was asked for.

    Raises:
        TriggerError: The payload asks for something else.
        SettingsError: A variable of the environment is missing or wrong.
    """
    return parse_request(event).answer(lambda: status_collector().run())
