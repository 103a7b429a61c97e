"""Sweeps the fleet on the schedule, or when a person invokes it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from target_sync.fleet.sweep_build import sweeper
from target_sync.fleet.triggers import parse_sweep

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: object, context: "LambdaContext") -> Mapping[str, object]:
    """Sweep every tagged target group once, and return the result.

    Raises:
        TargetSyncError: The sweep failed. The next one plans the same work again.
    """
    result = sweeper(context.invoked_function_arn).run(
        parse_sweep(event), remaining_seconds=context.get_remaining_time_in_millis() / 1000
    )
    return result.to_document()
