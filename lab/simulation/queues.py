"""The two queues of the fleet as SQS and Lambda have them, on a virtual clock."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lab.simulation.clock import Turns
from target_sync.fleet.ports import DatabaseEvent
from target_sync.fleet.work_items import WorkItem, write_work_item

#: Of each call to SQS.
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
    """An order in the queue.

    Attributes:
        text: As it was sent.
        group: Of its group one message is out at a time, and later ones wait behind it.
        visible_at: From when on it may be received.
        swept_at: When the sweep began that sent it; None if it was none.
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
        dead: How many orders went to the dead letters.
    """

    clock: Turns
    dead: int = 0
    _messages: list[Message] = field(default_factory=list)
    _notified: set[str] = field(default_factory=set)

    def send(self, orders: Sequence[WorkItem], at: float, swept_at: float | None = None) -> None:
        """Send orders, ten in a call; equal ones of the same minute are one."""
        for start in range(0, len(orders), _CALL):
            self._pass()
            for order in orders[start : start + _CALL]:
                text = write_work_item(order)
                told = f"{int(at // _MINUTE)} {text}"
                if told not in self._notified:
                    self._notified.add(told)
                    self._messages.append(Message(text, order.arn, self.clock.now(), swept_at))
        self.clock.wake()

    def waiting(self) -> int:
        """How many nobody has finished."""
        self._pass()
        return len(self._messages)

    @property
    def is_empty(self) -> bool:
        """Whether all is finished."""
        return not self._messages

    def receive(self) -> Sequence[Message]:
        """A batch of what is visible, in order."""
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
        """Lambda deletes what a batch has finished; the rest comes again when its time is over."""
        for message in done:
            self._messages.remove(message)
        self.clock.wake()

    def _pass(self) -> None:
        self.clock.sleep_until(self.clock.now() + SQS_SECONDS)


@dataclass(slots=True)
class EventQueue:
    """A standard queue of RDS events. Implements ``target_sync.fleet.ports.DatabaseEventsPort``.

    Attributes:
        coming: When each event comes, and what it names; the first comes first.
    """

    clock: Turns
    coming: deque[tuple[float, str]]

    def receive(self, wait_seconds: int) -> Sequence[DatabaseEvent]:
        """What is there, or comes within so many seconds."""
        until = self.clock.now() + wait_seconds
        self.clock.sleep_until(self.clock.now() + SQS_SECONDS)
        while not (events := self._taken(_CALL)):
            at = min(until, self.coming[0][0] if self.coming else until)
            if at <= self.clock.now():
                break
            self.clock.sleep_until(at)
        return events

    def forget(self, events: Sequence[DatabaseEvent]) -> None:
        """They are taken for good as soon as they are received: here nobody fails."""
        for _ in range(0, len(events), _CALL):
            self.clock.sleep_until(self.clock.now() + SQS_SECONDS)

    def gathered(self) -> Sequence[DatabaseEvent]:
        """What Lambda has gathered for an invocation; none if no event will come any more."""
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
