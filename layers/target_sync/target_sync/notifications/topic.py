"""An SNS topic that people read."""

from typing import Any

from target_sync.aws import Failures
from target_sync.errors import NotificationError
from target_sync.notifications.messages import Email

#: Whether it might pass makes no difference: no message is tried twice.
_FAILURES = Failures(service="sns", other=NotificationError, unavailable=NotificationError)


class SnsTopic:
    """Implements ``target_sync.notifications.sender.Topic``.

    Args:
        client: A client of SNS. Untyped: the project has no stubs for SNS.
        arn: The topic.
    """

    def __init__(self, client: Any, arn: str) -> None:
        self._client = client
        self._arn = arn

    def publish(self, message: Email) -> None:
        """Publish a message.

        Raises:
            NotificationError: It may not have been published.
        """
        _FAILURES.call(
            "Publish",
            self._client.publish,
            TopicArn=self._arn,
            Subject=message.subject,
            Message=message.text,
        )
