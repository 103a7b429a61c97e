"""Watches the databases of RDS events, which come in batches from a queue."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from target_sync.fleet.sweep_build import watcher
from target_sync.fleet.triggers import parse_watch

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: object, context: "LambdaContext") -> Mapping[str, object]:
    """Watch the databases of the events, and return the result.

    Raises:
        TargetSyncError: The watch failed. SQS delivers the events again, and the sweeps continue.
    """
    result = watcher(context.invoked_function_arn).run(
        parse_watch(event), remaining_seconds=context.get_remaining_time_in_millis() / 1000
    )
    return result.to_document()
