"""The queue in which EventBridge leaves the events of RDS."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from target_sync.fleet.events import identifier_of
from target_sync.fleet.ports import DatabaseEvent
from target_sync.sqs import MOST_ENTRIES, SQS, in_batches

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient


class SqsDatabaseEvents:
    """A standard queue. Implements ``target_sync.fleet.ports.DatabaseEventsPort``.

    Args:
        client: Of the SQS API.
        url: The queue's.
    """

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def receive(self, wait_seconds: int) -> Sequence[DatabaseEvent]:
        """What is there, or comes; shorter than the client's read time-out, which would fail it."""

        def read() -> list[DatabaseEvent]:
            reply = self._client.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=MOST_ENTRIES, WaitTimeSeconds=wait_seconds
            )
            return [
                DatabaseEvent(identifier_of(message["Body"]), message["ReceiptHandle"])
                for message in reply.get("Messages", ())
            ]

        return SQS.read("ReceiveMessage", read)

    def forget(self, events: Sequence[DatabaseEvent]) -> None:
        """Delete these, ten in a call; one that Lambda received is Lambda's to delete."""
        entries = [{"ReceiptHandle": event.handle} for event in events if event.handle]
        in_batches("DeleteMessageBatch", self._client.delete_message_batch, self._url, entries)
