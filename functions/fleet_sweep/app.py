"""Keeps all tagged target groups in sync, on the schedule or when a person invokes it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from target_sync.fleet.build import sweeper
from target_sync.triggers import as_object, scheduled_or_manual

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: object, context: "LambdaContext") -> Mapping[str, object]:
    """Sweep until the next minute, and return the result.

    Raises:
        TargetSyncError: The sweep failed. The next one does the same work.
    """
    trigger = scheduled_or_manual(as_object(event))
    remaining_seconds = context.get_remaining_time_in_millis() / 1000
    result = sweeper().run(trigger, remaining_seconds=remaining_seconds)
    return result.to_document()
