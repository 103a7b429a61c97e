"""Carries out work items from the work queue, all items of a batch at the same time."""

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
    """Carry out the work items, and return those that SQS has to deliver again."""
    this_worker = worker()
    locks = defaultdict[str, asyncio.Lock](asyncio.Lock)

    async def carry_out(record: "SQSRecord") -> None:
        try:
            work_item = read_work_item(record.body)
            redelivered = int(record.attributes.approximate_receive_count) > 1
            # A group never has two concurrent runs, within a batch either.
            async with locks[work_item.arn]:
                remaining_seconds = context.get_remaining_time_in_millis() / 1000
                for at in this_worker.run_in_steps(
                    work_item, remaining_seconds, redelivered=redelivered
                ):
                    # The other work items of the batch continue meanwhile.
                    while (seconds := at - this_worker.clock.now()) > 0:
                        await asyncio.sleep(seconds)
        except Exception as error:
            this_worker.reporter.report_retry({"message_id": record.message_id}, error)
            raise

    return async_process_partial_response(
        event=event,
        record_handler=carry_out,
        processor=AsyncBatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False),
    )
