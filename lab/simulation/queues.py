"""The two queues of the fleet, as SQS and Lambda serve them, on a virtual clock."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lab.simulation.clock import ActorClock
from target_sync.fleet.ports import DatabaseEvent
from target_sync.fleet.work_items import WorkItem, write_work_item

#: Duration of a call to SQS.
SQS_SECONDS = 0.02
#: fleet.yaml, WorkQueue and FleetWorkerFunction.
BATCH, VISIBILITY_SECONDS, MOST_RECEPTIONS = 2, 100.0, 3
#: fleet.yaml, FleetWatchFunction: events of one invocation, and how long Lambda gathers them.
EVENTS, WINDOW_SECONDS = 100, 1.0
#: The most messages of one call to SQS.
_CALL = 10
_MINUTE = 60


@dataclass(eq=False, slots=True)
class Message:
    """A work item in the queue.

    Attributes:
        text: Its text.
        group: Its message group: SQS delivers one message of a group at a time, in order.
        visible_at: When it can be received.
        swept_at: When the sweep that sent it started; None if no sweep sent it.
        receptions: How often it was received.
    """

    text: str
    group: str
    visible_at: float
    swept_at: float | None
    receptions: int = 0


@dataclass(slots=True)
class WorkQueue:
    """A FIFO queue.

    Attributes:
        dead: How many work items went to the dead-letter queue.
    """

    clock: ActorClock
    dead: int = 0
    _messages: list[Message] = field(default_factory=list)
    _sent: set[str] = field(default_factory=set)

    def send(self, items: Sequence[WorkItem], at: float, swept_at: float | None = None) -> None:
        """Send work items, ten in a call. Equal items of the same minute are deduplicated."""
        for start in range(0, len(items), _CALL):
            self._pass()
            for item in items[start : start + _CALL]:
                text = write_work_item(item)
                deduplication_id = f"{int(at // _MINUTE)} {text}"
                if deduplication_id not in self._sent:
                    self._sent.add(deduplication_id)
                    self._messages.append(Message(text, item.arn, self.clock.now(), swept_at))
        self.clock.wake()

    def waiting(self) -> int:
        """Return how many messages are not finished."""
        self._pass()
        return len(self._messages)

    @property
    def is_empty(self) -> bool:
        """Whether every message is finished."""
        return not self._messages

    def receive(self) -> Sequence[Message]:
        """Return a batch of visible messages, in order."""
        now = self.clock.now()
        out = {message.group for message in self._messages if message.visible_at > now}
        batch = list[Message]()
        for message in list(self._messages):
            if len(batch) == BATCH:
                break
            if message.group in out:
                continue
            if message.receptions == MOST_RECEPTIONS:
                self._messages.remove(message)
                self.dead += 1
                continue
            message.receptions += 1
            message.visible_at = now + VISIBILITY_SECONDS
            batch.append(message)
        return batch

    def settle(self, done: Iterable[Message]) -> None:
        """Delete the finished messages, as Lambda does. The others become visible again later."""
        for message in done:
            self._messages.remove(message)
        self.clock.wake()

    def _pass(self) -> None:
        self.clock.sleep_until(self.clock.now() + SQS_SECONDS)


@dataclass(slots=True)
class EventQueue:
    """A standard queue of RDS events. Implements ``target_sync.fleet.ports.DatabaseEventsPort``.

    Attributes:
        coming: When each event arrives, and the identifier that it names; earliest first.
    """

    clock: ActorClock
    coming: deque[tuple[float, str]]

    def receive(self, wait_seconds: int) -> Sequence[DatabaseEvent]:
        """Return the events that are there, or that arrive within these seconds."""
        until = self.clock.now() + wait_seconds
        self.clock.sleep_until(self.clock.now() + SQS_SECONDS)
        while not (events := self._taken(_CALL)):
            at = min(until, self.coming[0][0] if self.coming else until)
            if at <= self.clock.now():
                break
            self.clock.sleep_until(at)
        return events

    def delete(self, events: Sequence[DatabaseEvent]) -> None:
        """Delete events. Receiving has removed them already, because nothing fails here."""
        for _ in range(0, len(events), _CALL):
            self.clock.sleep_until(self.clock.now() + SQS_SECONDS)

    def gathered(self) -> Sequence[DatabaseEvent]:
        """Return the batch of an invocation; empty if no more events arrive."""
        while self.coming:
            self.clock.sleep_until(self.coming[0][0])
            self.clock.sleep_until(self.clock.now() + WINDOW_SECONDS)
            if events := self._taken(EVENTS):
                return events
        return []

    def _taken(self, most: int) -> list[DatabaseEvent]:
        events = list[DatabaseEvent]()
        while len(events) < most and self.coming and self.coming[0][0] <= self.clock.now():
            _, identifier = self.coming.popleft()
            events.append(DatabaseEvent(identifier, "taken"))
        return events
