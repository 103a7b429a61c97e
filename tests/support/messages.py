"""A topic that people read and an event bus, in memory."""

from dataclasses import dataclass, field

from target_sync.core.messages import Event, Message, Sender
from target_sync.core.result import SyncResult
from target_sync.core.sync_messages import notice_of
from target_sync.errors import NotificationError
from target_sync.messages.sending import Courier

GROUP_ARN = (
    "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/orders/0123456789abcdef"
)
SENDER = Sender(stack="orders-privatelink", resource=GROUP_ARN)


@dataclass
class FakeTopic:
    """Implements ``target_sync.messages.sending.Topic``."""

    told: list[Message] = field(default_factory=list)
    is_broken: bool = False

    def publish(self, message: Message) -> None:
        if self.is_broken:
            raise NotificationError("Publish", "NotFound", "Topic does not exist")
        self.told.append(message)


@dataclass
class FakeBus:
    """Implements ``target_sync.messages.sending.Bus``."""

    events: list[Event] = field(default_factory=list)
    is_broken: bool = False

    def put(self, event: Event) -> None:
        if self.is_broken:
            raise NotificationError("PutEvents", "AccessDeniedException", "not authorized")
        self.events.append(event)


@dataclass
class FakeTeller:
    """Implements ``target_sync.synchronizer.Teller``, with our own courier.

    Attributes:
        now: What the wall clock says, in seconds since the epoch.
    """

    topic: FakeTopic = field(default_factory=FakeTopic)
    bus: FakeBus = field(default_factory=FakeBus)
    now: float = 1_795_341_600.0

    def tell(self, result: SyncResult, *, changed_ago: float) -> tuple[str, ...]:
        courier = Courier(topic=self.topic, bus=self.bus)
        return courier.send(notice_of(result, SENDER, at=self.now - changed_ago))
