"""How many messages wait in a queue, as SQS tells it."""

from typing import TYPE_CHECKING

from target_sync.errors import AwsNotFoundError
from target_sync.sqs import count_messages

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient


class SqsQueues:
    """Implements ``target_sync.status.ports.QueuesPort``."""

    def __init__(self, client: "SQSClient") -> None:
        self._client = client

    def messages(self, url: str) -> int | None:
        """How many messages a queue has; None if it does not exist."""
        try:
            return count_messages(self._client, url)
        except AwsNotFoundError:
            return None
