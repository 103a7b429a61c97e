"""Sends each notification once, by SNS to people and by EventBridge to programs.

A failure is returned. It is neither retried nor raised.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.config import Config

from target_sync.aws import AwsApi, make_client
from target_sync.errors import AwsCallError
from target_sync.notifications.messages import SOURCE, BusEvent, Email, Notification

#: One attempt, because a second one after a lost reply would send the message twice. Short, because
#: notifications are sent at the end of the function's time.
CLIENT_CONFIG = Config(
    connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 1}
)
_SNS, _EVENTS = AwsApi("sns"), AwsApi("events")


class Topic(Protocol):
    """Takes messages for people. Raises ``AwsCallError``."""

    def publish(self, message: Email) -> None:
        """Publish one message."""


class Bus(Protocol):
    """Takes events for programs. Raises ``AwsCallError``."""

    def put(self, event: BusEvent) -> None:
        """Put one event on the bus."""


class SnsTopic:
    """An SNS topic that people subscribe to. Implements `Topic`.

    The client is untyped, because the project has no stubs for SNS.
    """

    def __init__(self, client: Any, arn: str) -> None:
        self._client = client
        self._arn = arn

    def publish(self, message: Email) -> None:
        """Publish a message. After an error, SNS may have published it."""
        _SNS.call(
            "Publish",
            self._client.publish,
            TopicArn=self._arn,
            Subject=message.subject,
            Message=message.text,
        )


class EventBus:
    """The default event bus of the account and Region. Implements `Bus`."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @_EVENTS.reads("PutEvents")
    def put(self, event: BusEvent) -> None:
        """Put an event on the bus.

        A call can succeed, and its reply name an entry that failed (EventBridge API reference,
        PutEvents).
        """
        entry = {
            "Source": SOURCE,
            "DetailType": event.detail_type,
            "Detail": json.dumps(event.detail),
            "Resources": [event.resource],
        }
        reply = self._client.put_events(Entries=[entry])
        if reply["FailedEntryCount"]:
            failed = reply["Entries"][0]
            code, message = failed.get("ErrorCode", "Unknown"), failed.get("ErrorMessage", "")
            raise AwsCallError("PutEvents", str(code), str(message))


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSender:
    """Sends notifications. The topic is None if the stack has none."""

    topic: Topic | None
    bus: Bus

    def send(self, notification: Notification) -> tuple[str, ...]:
        """Send a notification to both, and return a sentence for each failure."""
        failures = [_failure(lambda: self.bus.put(notification.event))]
        if (topic := self.topic) is not None:
            failures.append(_failure(lambda: topic.publish(notification.message)))
        return tuple(filter(None, failures))


def _failure(send: Callable[[], None]) -> str:
    try:
        send()
    except AwsCallError as error:
        return f"not delivered: {error}"
    return ""


@functools.cache
def notification_sender(topic_arn: str) -> NotificationSender:
    """Return the sender of this container: to the event bus, and to a topic if its ARN is given."""
    return NotificationSender(
        topic=SnsTopic(make_client("sns", CLIENT_CONFIG), topic_arn) if topic_arn else None,
        bus=EventBus(make_client("events", CLIENT_CONFIG)),
    )
