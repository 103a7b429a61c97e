"""Puts together who tells."""

import functools

from botocore.config import Config

from target_sync.aws import make_client
from target_sync.notifications.event_bus import EventBus
from target_sync.notifications.sender import NotificationSender
from target_sync.notifications.topic import SnsTopic

#: One attempt: a second one after a lost reply would say it twice. And short, because it comes
#: at the end of the function's time.
CLIENT_CONFIG = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 1},
)


@functools.cache
def notification_sender(topic_arn: str) -> NotificationSender:
    """Make a courier to this topic, or without one if the ARN is empty, and to the event bus."""
    return NotificationSender(
        topic=SnsTopic(make_client("sns", CLIENT_CONFIG), topic_arn) if topic_arn else None,
        bus=EventBus(make_client("events", CLIENT_CONFIG)),
    )
