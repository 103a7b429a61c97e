"""Handler of ReviewConnectionsFunction: accepts and rejects connection requests."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from target_sync.connections.build import reviewer
from target_sync.connections.triggers import parse_trigger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: object, context: "LambdaContext") -> Mapping[str, object]:
    """Review every pending connection request, and return the result document.

    Raises:
        TargetSyncError: Something failed. Lambda then retries, and the Errors alarm goes off.
    """
    trigger = parse_trigger(event)
    remaining_seconds = context.get_remaining_time_in_millis() / 1000
    return reviewer().run(trigger, remaining_seconds=remaining_seconds).to_document()
