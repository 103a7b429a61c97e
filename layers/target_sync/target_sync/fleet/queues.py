"""The two SQS queues of the fleet: work items, and RDS events from EventBridge."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from target_sync.fleet.ports import DatabaseEvent
from target_sync.fleet.triggers import database_of
from target_sync.fleet.work_items import WorkItem, write_work_item
from target_sync.sqs import MOST_ENTRIES, SQS, count_messages, in_batches

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

_MINUTE = 60


@dataclass(frozen=True, slots=True)
class SqsWorkQueue:
    """The FIFO queue of work items. Implements ``target_sync.fleet.ports.WorkQueuePort``.

    The message group is the target group: SQS delivers none of its messages while a worker has
    another one. Both IDs are digests, because SQS limits them to 128 characters (SQS API reference,
    SendMessage).
    """

    client: "SQSClient"
    url: str

    def send(self, work_items: Sequence[WorkItem], at: float) -> None:
        """Send work items, ten per call."""
        minute = int(at // _MINUTE)
        entries = [_entry(item.arn, write_work_item(item), minute) for item in work_items]
        in_batches("SendMessageBatch", self.client.send_message_batch, self.url, entries)

    def count(self) -> int:
        """Return the approximate number of work items, including those in progress."""
        return count_messages(self.client, self.url)


@dataclass(frozen=True, slots=True)
class SqsDatabaseEvents:
    """The queue of RDS events. Implements ``target_sync.fleet.ports.DatabaseEventsPort``."""

    client: "SQSClient"
    url: str

    def receive(self, wait_seconds: int) -> Sequence[DatabaseEvent]:
        """Return the next events. The wait must be shorter than the client's read time-out."""

        def read() -> list[DatabaseEvent]:
            reply = self.client.receive_message(
                QueueUrl=self.url, MaxNumberOfMessages=MOST_ENTRIES, WaitTimeSeconds=wait_seconds
            )
            return [
                DatabaseEvent(database_of(message["Body"]), message["ReceiptHandle"])
                for message in reply.get("Messages", ())
            ]

        return SQS.read("ReceiveMessage", read)

    def delete(self, events: Sequence[DatabaseEvent]) -> None:
        """Delete these events, ten per call, except those that Lambda deletes itself."""
        entries = [{"ReceiptHandle": event.handle} for event in events if event.handle]
        in_batches("DeleteMessageBatch", self.client.delete_message_batch, self.url, entries)


def _entry(arn: str, body: str, minute: int) -> dict[str, str]:
    return {
        "MessageBody": body,
        "MessageGroupId": _digest(arn),
        "MessageDeduplicationId": _digest(f"{minute} {body}"),
    }


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()
