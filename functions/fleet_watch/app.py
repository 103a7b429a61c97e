"""The door of the watch: a batch of the queue of RDS events."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from target_sync.fleet.sweep_build import watcher
from target_sync.fleet.triggers import parse_watch

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: object, context: "LambdaContext") -> Mapping[str, object]:
    """Watch the databases that the events name, and answer with the watch's document.

    Raises:
        TargetSyncError: Something failed. The events come again, and the sweep goes on meanwhile.
    """
    result = watcher(context.invoked_function_arn).run(
        parse_watch(event), remaining_seconds=context.get_remaining_time_in_millis() / 1000
    )
    return result.to_document()
