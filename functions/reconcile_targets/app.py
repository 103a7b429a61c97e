"""The door for every trigger: an RDS event, the schedule, a person."""

import gc

# All that is imported stays. To look for garbage in it, now and in every run, would find none and
# take 7 % of the start (docs/bench/cold.md).
gc.disable()

import time  # noqa: E402 - see above
from collections.abc import Mapping  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from target_sync.reconcile.build import reconciler  # noqa: E402
from target_sync.reconcile.triggers import parse_trigger  # noqa: E402

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

gc.freeze()
gc.enable()


def handler(event: object, context: "LambdaContext") -> Mapping[str, object]:
    """Converge the target group and answer with the run's document.

    Raises:
        TargetSyncError: Something failed. Lambda then retries, and the Errors alarm rings.
    """
    trigger = parse_trigger(event)
    occurred_at = trigger.occurred_at
    result = reconciler().run(
        trigger,
        remaining_seconds=context.get_remaining_time_in_millis() / 1000,
        age_seconds=0.0 if occurred_at is None else time.time() - occurred_at,
    )
    return result.to_document()
