"""How many messages wait in a queue, as SQS tells it."""

from typing import TYPE_CHECKING, Final

from target_sync.adapters.aws import Failures
from target_sync.errors import StatusCallError, StatusCallUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

_OPERATION = "GetQueueAttributes"
_FAILURES = Failures(service="sqs", other=StatusCallError, unavailable=StatusCallUnavailableError)
_MISSING = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
# Waiting, and being read by somebody just now: both are still there.
_WAITING: Final = "ApproximateNumberOfMessages"
_BEING_READ: Final = "ApproximateNumberOfMessagesNotVisible"


class SqsQueues:
    """Implements ``target_sync.core.road.ports.QueuesPort``."""

    def __init__(self, client: "SQSClient") -> None:
        self._client = client

    def messages(self, url: str) -> int | None:
        """How many messages a queue has; None if it does not exist."""
        try:
            reply = _FAILURES.call(
                _OPERATION,
                self._client.get_queue_attributes,
                QueueUrl=url,
                AttributeNames=[_WAITING, _BEING_READ],
            )
            counts = reply["Attributes"]
            return int(counts[_WAITING]) + int(counts[_BEING_READ])
        except StatusCallError as error:
            if error.code in _MISSING:
                return None
            raise
        except (KeyError, ValueError) as error:
            raise StatusCallError.wrong_reply(_OPERATION, error) from error
