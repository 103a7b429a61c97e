"""The queue between those who find out what is to be done and those who do it."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from target_sync.fleet.work_items import WorkItem, write_work_item
from target_sync.sqs import count_messages, in_batches

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

_MINUTE = 60


class SqsWorkQueue:
    """A FIFO queue. Implements ``target_sync.fleet.ports.WorkQueuePort``.

    The group of a message is the order's target group: SQS gives out none of its messages while
    another one is being worked on. Both IDs are digests, because SQS takes no more than 128
    characters (SQS API reference, SendMessage).

    Args:
        client: Of the SQS API.
        url: The queue's.
    """

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, orders: Sequence[WorkItem], at: float) -> None:
        """Send orders, ten in a call."""
        minute = int(at // _MINUTE)
        entries = [_entry(order.arn, write_work_item(order), minute) for order in orders]
        in_batches("SendMessageBatch", self._client.send_message_batch, self._url, entries)

    def waiting(self) -> int:
        """How many orders there are, as many as SQS knows of."""
        return count_messages(self._client, self._url)


def _entry(arn: str, body: str, minute: int) -> dict[str, str]:
    return {
        "MessageBody": body,
        "MessageGroupId": _digest(arn),
        "MessageDeduplicationId": _digest(f"{minute} {body}"),
    }


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()
