"""Each message and event once: what fails is said, and neither repeated nor raised."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from target_sync.errors import NotificationError
from target_sync.notifications.messages import BusEvent, Email, Notification


class Topic(Protocol):
    """Where people are told. Raises ``NotificationError``."""

    def publish(self, message: Email) -> None:
        """Publish one message."""
        ...


class Bus(Protocol):
    """Where programs are told. Raises ``NotificationError``."""

    def put(self, event: BusEvent) -> None:
        """Put one event on the bus."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSender:
    """Sends notices.

    Attributes:
        topic: Where people are told; None for nowhere.
        bus: Where programs are told.
    """

    topic: Topic | None
    bus: Bus

    def send(self, notice: Notification) -> tuple[str, ...]:
        """Send a notice to both, and answer with what may have reached nobody."""
        failures = [_failure(lambda: self.bus.put(notice.event))]
        if self.topic is not None:
            topic = self.topic
            failures.append(_failure(lambda: topic.publish(notice.message)))
        return tuple(filter(None, failures))


def _failure(send: Callable[[], None]) -> str:
    try:
        send()
    except NotificationError as error:
        return f"nobody was told: {error}"
    return ""
