"""A topic and an event bus in memory, and a scenario whose runs notify both."""

from dataclasses import dataclass, field, replace

from target_sync.errors import AwsAccessDeniedError, AwsCallError
from target_sync.notifications.messages import BusEvent, Email, Origin
from target_sync.notifications.sender import NotificationSender
from target_sync.reconcile.messages import notification_of
from target_sync.reconcile.result import SyncResult
from tests.support.scenario import Scenario

GROUP_ARN = (
    "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/orders/0123456789abcdef"
)
ORIGIN = Origin(stack="orders-privatelink", resource=GROUP_ARN)


@dataclass
class FakeTopic:
    """Implements ``target_sync.notifications.sender.Topic``."""

    messages: list[Email] = field(default_factory=list)
    is_broken: bool = False

    def publish(self, message: Email) -> None:
        if self.is_broken:
            raise AwsCallError("Publish", "NotFound", "Topic does not exist")
        self.messages.append(message)


@dataclass
class FakeBus:
    """Implements ``target_sync.notifications.sender.Bus``."""

    events: list[BusEvent] = field(default_factory=list)
    is_broken: bool = False

    def put(self, event: BusEvent) -> None:
        if self.is_broken:
            raise AwsAccessDeniedError("PutEvents", "AccessDeniedException", "not authorized")
        self.events.append(event)


@dataclass
class FakeNotifier:
    """Implements ``target_sync.reconcile.reconciler.Notifier`` with the real sender.

    Attributes:
        now: The wall-clock time in seconds since the epoch.
    """

    topic: FakeTopic = field(default_factory=FakeTopic)
    bus: FakeBus = field(default_factory=FakeBus)
    now: float = 1_795_341_600.0

    def notify(self, result: SyncResult, *, changed_ago: float) -> tuple[str, ...]:
        notification_sender = NotificationSender(topic=self.topic, bus=self.bus)
        return notification_sender.send(notification_of(result, ORIGIN, at=self.now - changed_ago))


class NotifiedScenario(Scenario):
    """A scenario whose runs notify people and programs."""

    def __init__(self, *registered: object) -> None:
        super().__init__(*registered)
        self.notifier = FakeNotifier()
        self.reconciler = replace(self.reconciler, notifier=self.notifier)

    @property
    def mails(self) -> list[str]:
        return [message.text for message in self.notifier.topic.messages]

    @property
    def subjects(self) -> list[str]:
        return [message.subject for message in self.notifier.topic.messages]

    @property
    def details(self) -> list[dict[str, object]]:
        return [dict(event.detail) for event in self.notifier.bus.events]
