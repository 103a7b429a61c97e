"""What the calls to SQS have in common: batches whose entries fail one by one, and a count."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from target_sync.aws import Failures
from target_sync.errors import FleetCallError, FleetCallUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

#: The most entries of one SendMessageBatch or DeleteMessageBatch, and the most messages of one
#: ReceiveMessage (SQS API reference).
MOST_ENTRIES: Final = 10
#: What passes by itself, beside what does with every API (SQS API reference, SendMessageBatch and
#: ReceiveMessage, *Errors*). KMS's has another name in the header by which botocore goes.
_PASSING = ("RequestThrottled", "KmsThrottled", "KMS.ThrottlingException", "OverLimit")
_COUNT = "GetQueueAttributes"
# Waiting, and being read by somebody just now: both are still there.
_WAITING: Final = "ApproximateNumberOfMessages"
_BEING_READ: Final = "ApproximateNumberOfMessagesNotVisible"

FLEET_FAILURES = Failures(
    service="sqs",
    other=FleetCallError,
    unavailable=FleetCallUnavailableError,
    by_code=dict.fromkeys(_PASSING, FleetCallUnavailableError),
)
"""How a failed call to a queue of the fleet becomes an error of ours."""


def count_messages(client: "SQSClient", url: str, failures: Failures) -> int:
    """How many messages of a queue nobody has finished.

    Raises:
        AwsCallError: One of the errors of ``failures``.
    """
    reply = failures.call(
        _COUNT,
        client.get_queue_attributes,
        QueueUrl=url,
        AttributeNames=[_WAITING, _BEING_READ],
    )
    try:
        counts = reply["Attributes"]
        return int(counts[_WAITING]) + int(counts[_BEING_READ])
    except (KeyError, TypeError, ValueError) as error:
        raise failures.other.wrong_reply(_COUNT, error) from error


def in_batches(
    operation: str, method: Callable[..., Any], url: str, entries: Sequence[Mapping[str, object]]
) -> None:
    """Make one call for every ten entries, and none after the first that failed.

    A call may succeed although some of its entries failed (SQS API reference, SendMessageBatch).

    Args:
        operation: The API action.
        method: The client's.
        url: The queue.
        entries: Each without its ``Id``.

    Raises:
        FleetCallError: A call failed, or an entry of it.
    """
    for start in range(0, len(entries), MOST_ENTRIES):
        batch = [
            {"Id": str(number), **entry}
            for number, entry in enumerate(entries[start : start + MOST_ENTRIES])
        ]
        reply = FLEET_FAILURES.call(operation, method, QueueUrl=url, Entries=batch)
        _check(operation, reply, len(batch))


def _check(operation: str, reply: Mapping[str, Any], expected: int) -> None:
    try:
        failed = [(it["Code"], it["SenderFault"], it) for it in reply.get("Failed", ())]
        answered = len(failed) + len(reply.get("Successful", ()))
    except (AttributeError, KeyError, TypeError) as error:
        raise FleetCallError.wrong_reply(operation, error) from error
    if answered != expected:
        raise FleetCallError.wrong_reply(
            operation, ValueError(f"it answers {answered} entries of {expected}")
        )
    if failed:
        # One that is our own fault stays one in the next try, whatever becomes of the others.
        code, ours, entry = max(failed, key=lambda it: bool(it[1]))
        kind = FleetCallError if ours and code not in _PASSING else FleetCallUnavailableError
        raise kind(
            operation, code, f"{len(failed)} of {expected} entries: {entry.get('Message', '')}"
        )
