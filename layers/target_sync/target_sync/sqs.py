"""Calls to SQS that the fleet and the status share: batches, and the number of messages."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from target_sync.aws import AwsApi, error_for
from target_sync.errors import AwsReplyError, AwsUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

#: Most entries of one SendMessageBatch or DeleteMessageBatch, and most messages of one
#: ReceiveMessage (SQS API reference).
MOST_ENTRIES: Final = 10
_WAITING: Final = "ApproximateNumberOfMessages"
_IN_FLIGHT: Final = "ApproximateNumberOfMessagesNotVisible"

SQS = AwsApi("sqs")


def count_messages(client: "SQSClient", url: str) -> int:
    """Return the number of messages in a queue, including those in flight.

    Raises:
        AwsCallError: The call failed.
    """

    def count() -> int:
        reply = client.get_queue_attributes(QueueUrl=url, AttributeNames=[_WAITING, _IN_FLIGHT])
        return int(reply["Attributes"][_WAITING]) + int(reply["Attributes"][_IN_FLIGHT])

    return SQS.read("GetQueueAttributes", count)


def in_batches(
    operation: str, method: Callable[..., Any], url: str, entries: Sequence[Mapping[str, object]]
) -> None:
    """Make one call for every ten entries (without ``Id``), and none after the first failure.

    A call may succeed although some of its entries failed (SQS API reference, SendMessageBatch).

    Raises:
        AwsCallError: A call failed, or an entry of it.
    """
    for start in range(0, len(entries), MOST_ENTRIES):
        batch = [
            {"Id": str(number), **entry}
            for number, entry in enumerate(entries[start : start + MOST_ENTRIES])
        ]
        reply = SQS.call(operation, method, QueueUrl=url, Entries=batch)
        _check_entries(operation, reply, len(batch))


def _check_entries(operation: str, reply: Mapping[str, Any], expected: int) -> None:
    try:
        failed = [(it["Code"], it["SenderFault"], it) for it in reply.get("Failed", ())]
        listed = len(failed) + len(reply.get("Successful", ()))
    except (AttributeError, KeyError, TypeError) as error:
        raise AwsReplyError(operation, error) from error
    if listed != expected:
        raise AwsReplyError(operation, ValueError(f"it lists {listed} entries of {expected}"))
    if failed:
        # An entry that is invalid stays invalid in a retry, whatever happens to the others.
        code, is_ours, entry = max(failed, key=lambda it: bool(it[1]))
        message = f"{len(failed)} of {expected} entries: {entry.get('Message', '')}"
        raise (error_for if is_ours else AwsUnavailableError)(operation, code, message)
