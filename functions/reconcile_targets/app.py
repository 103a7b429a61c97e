"""The handler for every trigger: an RDS event, an EC2 event, the schedule, a person."""

import gc

# Modules and clients stay in memory. Collecting garbage among them finds nothing, and takes 12 % of
# the cold start (docs/bench/cold.md). So it begins when the reconciler is built.
gc.disable()

import time  # noqa: E402 - see above
from collections.abc import Mapping  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from target_sync.reconcile.build import reconciler  # noqa: E402
from target_sync.reconcile.triggers import parse_trigger  # noqa: E402

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from target_sync.reconcile.reconciler import Reconciler


def handler(event: object, context: "LambdaContext") -> Mapping[str, object]:
    """Reconcile the target group and return the result of the run.

    Raises:
        TargetSyncError: The run failed. Lambda retries it and counts the error.
    """
    trigger = parse_trigger(event)
    result = _reconciler().run(
        trigger,
        remaining_seconds=context.get_remaining_time_in_millis() / 1000,
        age_seconds=trigger.age_at(time.time()),
    )
    return result.to_document()


def _reconciler() -> "Reconciler":
    """Return the reconciler of this container. From then on garbage is collected."""
    try:
        return reconciler()
    finally:
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
