"""The door of a fleet's worker: orders from the work queue, those of a batch side by side."""

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import (
    AsyncBatchProcessor,
    EventType,
    async_process_partial_response,
)

from target_sync.fleet.work_items import read_work_item
from target_sync.fleet.worker_build import worker

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Carry out the orders, and answer with those that have to come again."""
    ours = worker()
    turns = defaultdict[str, asyncio.Lock](asyncio.Lock)

    async def carry_out(record: "SQSRecord") -> None:
        try:
            order = read_work_item(record.body)
            again = int(record.attributes.approximate_receive_count) > 1
            # One group is never worked on twice at once, within a batch either.
            async with turns[order.arn]:
                remaining_seconds = context.get_remaining_time_in_millis() / 1000
                for at in ours.run_in_steps(order, remaining_seconds, again=again):
                    # The other orders of the batch go on until then.
                    while (left := at - ours.clock.now()) > 0:
                        await asyncio.sleep(left)
        except Exception as error:
            ours.reports.comes_again({"message_id": record.message_id}, error)
            raise

    return async_process_partial_response(
        event=event,
        record_handler=carry_out,
        processor=AsyncBatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False),
    )
