"""A fleet's outside world in memory: groups and their tags, names, queues like those of SQS."""

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from target_sync.errors import AwsCallError, AwsNotFoundError
from target_sync.fleet.model import ENDPOINT_TAG, EndpointKey, GroupFacts, TaggedGroup
from target_sync.fleet.ports import DatabaseEvent
from target_sync.fleet.triggers import database_of
from target_sync.fleet.work_items import WorkItem, write_work_item
from target_sync.model import FailedObservation, Observation
from tests.support.clock import FakeClock
from tests.support.databases import FakeDns

# --------------------------------------------------------------------------------- target groups

#: What ELB takes as a tag (NLB user guide, *Tag a target group*; its API reference says 256).
_TAG_VALUE = re.compile(r"[\w .:/=+\-@]{0,255}")
_MOST_TAGS = 50


class Faults:
    """The errors that the next calls raise, one after another."""

    def __init__(self) -> None:
        self._planned: list[Exception] = []

    def plan(self, error: Exception, times: int = 1) -> None:
        self._planned += [error] * times

    def strike(self) -> None:
        if self._planned:
            raise self._planned.pop(0)


class FakeTaggedGroups:
    """Target groups and their tags. Implements ``TaggedGroupsPort`` and ``GroupTagsPort``.

    Attributes:
        lag: For so many seconds a listing does not have a change yet.
        listings: How often it was listed.
        writes: Every tag that was written.
        faults: Of the listing.
        write_faults: Of the writing; nothing is written then.
    """

    def __init__(self, clock: FakeClock, lag: float = 0.0) -> None:
        self._clock = clock
        self._history: dict[str, list[tuple[float, Mapping[str, str] | None]]] = {}
        self.lag = lag
        self.listings = 0
        self.writes: list[tuple[str, str, str]] = []
        self.faults, self.write_faults = Faults(), Faults()

    def put(self, arn: str, tags: Mapping[str, str]) -> None:
        """A group with exactly these tags, listed at once."""
        self._history[arn] = [(float("-inf"), dict(tags))]

    def delete(self, arn: str) -> None:
        """The group is gone; a listing that lags still has it."""
        self._change(arn, None)

    def tag(self, arn: str, key: str, value: str) -> None:
        """A person sets a tag."""
        self._change(arn, {**self.tags(arn), key: value})

    def untag(self, arn: str, key: str) -> None:
        """A person removes a tag."""
        self._change(arn, {k: v for k, v in self.tags(arn).items() if k != key})

    def tags(self, arn: str) -> Mapping[str, str]:
        """What is on a group now, whatever a listing says."""
        tags = self._history[arn][-1][1] if arn in self._history else None
        if tags is None:
            raise AwsNotFoundError("AddTags", "TargetGroupNotFound", arn)
        return tags

    def list_groups(self) -> Sequence[TaggedGroup]:
        self.listings += 1
        self.faults.strike()
        seen = self._clock.now() - self.lag
        found = []
        for arn, changes in self._history.items():
            tags = [tags for at, tags in changes if at <= seen][-1]
            if tags is not None and ENDPOINT_TAG in tags:
                found.append(TaggedGroup(arn, frozenset(tags.items())))
        return found

    def write(self, arn: str, key: str, value: str) -> None:
        self.write_faults.strike()
        if not _TAG_VALUE.fullmatch(value):
            raise AwsCallError("AddTags", "ValidationError", value)
        if len({*self.tags(arn), key}) > _MOST_TAGS:
            raise AwsCallError("AddTags", "TooManyTags", arn)
        self.writes.append((arn, key, value))
        self.tag(arn, key, value)

    def _change(self, arn: str, tags: Mapping[str, str] | None) -> None:
        self._history[arn].append((self._clock.now(), tags))


class FakeGroupFacts:
    """Implements ``GroupFactsPort``.

    Attributes:
        known: What ELB knows; a group that is not here does not exist.
        asked: What each call asked for.
    """

    def __init__(self, known: Mapping[str, GroupFacts] | None = None) -> None:
        self.known = dict(known or {})
        self.asked: list[frozenset[str]] = []
        self.faults = Faults()

    def describe(self, arns: Collection[str]) -> Mapping[str, GroupFacts]:
        self.asked.append(frozenset(arns))
        self.faults.strike()
        return {arn: self.known[arn] for arn in arns if arn in self.known}


# ----------------------------------------------------------------------------------------- names


class FakeNameLookups:
    """Implements ``NamesPort``: every kind of endpoint has the answer of its name.

    Attributes:
        dns: Says what each name answers.
        asked: The questions of each call.
    """

    def __init__(self, dns: FakeDns) -> None:
        self.dns = dns
        self.asked: list[Sequence[EndpointKey]] = []

    def look_up(
        self, endpoint_keys: Sequence[EndpointKey]
    ) -> Mapping[EndpointKey, Observation | FailedObservation]:
        self.asked.append(tuple(endpoint_keys))
        return {endpoint_key: self.dns.resolve(endpoint_key[1]) for endpoint_key in endpoint_keys}


# ---------------------------------------------------------------------------------------- queues

#: Within so long SQS takes a deduplication ID once (SQS developer guide, *FIFO key terms*).
DEDUPLICATION_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it was received.

    Attributes:
        id: Its own; a double has the same.
        handle: Of this one reception.
        receptions: How often it was received, this time included.
    """

    id: str
    handle: str
    body: str
    group: str
    sent_at: float
    receptions: int


@dataclass(slots=True, kw_only=True)
class _Stored:
    id: str
    body: str
    group: str
    sent_at: float
    visible_at: float
    handle: str = ""
    receptions: int = 0


class FakeQueue:
    """An SQS queue: in flight while it is read, back after the visibility time-out.

    With ``fifo`` a group is locked while one of its messages is in flight, its messages come in
    order, and a deduplication ID counts once in five minutes. A message that was received so often
    as it may be goes to the dead letters when it would be received once more.

    Attributes:
        dead: The dead letters.
        faults: Of sending and receiving.
    """

    def __init__(
        self,
        clock: FakeClock,
        *,
        fifo: bool = False,
        visibility: float = 100.0,
        retention: float = 900.0,
        most_receptions: int = 3,
    ) -> None:
        self._clock = clock
        self._fifo = fifo
        self._visibility = visibility
        self._retention = retention
        self._most_receptions = most_receptions
        self._stored: list[_Stored] = []
        self._seen: dict[str, float] = {}
        self._count = 0
        self.dead: list[Message] = []
        self.faults = Faults()

    def send(self, body: str, *, group: str = "", deduplication: str = "") -> None:
        self.faults.strike()
        now = self._clock.now()
        if self._fifo:
            if now < self._seen.get(deduplication, float("-inf")) + DEDUPLICATION_SECONDS:
                return
            self._seen[deduplication] = now
        self._count += 1
        self._stored.append(
            _Stored(id=f"m-{self._count}", body=body, group=group, sent_at=now, visible_at=now)
        )

    def receive(self, most: int = 10) -> list[Message]:
        self.faults.strike()
        self._expire()
        now = self._clock.now()
        locked = {m.group for m in self._stored if self._fifo and m.visible_at > now}
        received = list[Message]()
        for message in list(self._stored):
            if len(received) == most:
                break
            if message.visible_at > now or message.group in locked:
                continue
            if message.receptions == self._most_receptions:
                self._stored.remove(message)
                self.dead.append(_received(message))
                continue
            received.append(self._take(message))
        return received

    def delete(self, handle: str) -> None:
        """A FIFO queue does not take a handle whose time is over (API reference, DeleteMessage)."""
        now = self._clock.now()
        self._stored = [
            m for m in self._stored if m.handle != handle or (self._fifo and m.visible_at <= now)
        ]

    @property
    def waiting(self) -> int:
        """How many nobody has finished, in flight or not."""
        self._expire()
        return len(self._stored)

    @property
    def bodies(self) -> list[str]:
        """What nobody has finished, in order."""
        self._expire()
        return [message.body for message in self._stored]

    def double(self) -> None:
        """SQS delivers at least once: of each message there is a second one, free to be received.

        On a FIFO queue the two have different groups: SQS keeps the lock of a group, but the tests
        are to see two workers with one order.
        """
        doubles = [
            replace(m, group=f"{m.group}, again", visible_at=self._clock.now(), handle="")
            for m in self._stored
        ]
        self._stored += doubles

    def shuffle(self, random: Random) -> None:
        """Another order, across and within the groups."""
        random.shuffle(self._stored)

    def _take(self, message: _Stored) -> Message:
        message.receptions += 1
        message.handle = f"{message.id}-{message.group}-{message.receptions}"
        message.visible_at = self._clock.now() + self._visibility
        return _received(message)

    def _expire(self) -> None:
        oldest = self._clock.now() - self._retention
        self._stored = [m for m in self._stored if m.sent_at > oldest]


def _received(message: _Stored) -> Message:
    return Message(
        id=message.id,
        handle=message.handle,
        body=message.body,
        group=message.group,
        sent_at=message.sent_at,
        receptions=message.receptions,
    )


def lambda_event(messages: Sequence[Message]) -> dict[str, Any]:
    """What Lambda gives to a function for a batch (Lambda guide, *Using Lambda with SQS*)."""
    return {
        "Records": [
            {
                "messageId": message.id,
                "receiptHandle": message.handle,
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": str(message.receptions),
                    "SentTimestamp": str(round(message.sent_at * 1000)),
                    "MessageGroupId": message.group,
                },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:fleet-orders.fifo",
                "awsRegion": "eu-west-1",
            }
            for message in messages
        ]
    }


def settle(queue: FakeQueue, messages: Sequence[Message], response: Mapping[str, Any]) -> None:
    """Lambda deletes what the function did not report as failed; the rest comes again.

    All of it, if the function reported a message that was not in the batch (Lambda guide,
    *Reporting batch item failures*). After a crash there is nothing to settle.
    """
    failed = {item["itemIdentifier"] for item in response.get("batchItemFailures", ())}
    if not failed <= {message.id for message in messages}:
        return
    for message in messages:
        if message.id not in failed:
            queue.delete(message.handle)


@dataclass
class FakeWorkQueue:
    """Implements ``WorkQueuePort`` over a FIFO queue, whose messages are the orders' texts.

    Attributes:
        sent: Every order that was sent, those of the same minute too.
        calls: How often each method was called.
    """

    clock: FakeClock
    visibility: float = 100.0
    sent: list[WorkItem] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.queue = FakeQueue(self.clock, fifo=True, visibility=self.visibility)

    def send(self, work_items: Sequence[WorkItem], at: float) -> None:
        self.calls["send"] += 1
        for work_item in work_items:
            body = write_work_item(work_item)
            self.queue.send(body, group=work_item.arn, deduplication=f"{int(at // 60)} {body}")
            self.sent.append(work_item)

    def count(self) -> int:
        self.calls["count"] += 1
        self.queue.faults.strike()
        return self.queue.waiting


@dataclass
class FakeDatabaseEvents:
    """Implements ``DatabaseEventsPort`` over a standard queue. Waiting moves the clock."""

    clock: FakeClock

    def __post_init__(self) -> None:
        self.queue = FakeQueue(self.clock, visibility=200.0)

    def happens(self, identifier: str) -> None:
        """RDS tells of this instance or cluster."""
        event = {
            "detail-type": "RDS DB Instance Event",
            "source": "aws.rds",
            "detail": {"SourceType": "DB_INSTANCE", "SourceIdentifier": identifier},
        }
        self.queue.send(json.dumps(event))

    def receive(self, wait_seconds: int) -> Sequence[DatabaseEvent]:
        until = self.clock.now() + wait_seconds
        while not (messages := self.queue.receive()) and self.clock.now() < until:
            self.clock.sleep_until(min(until, self.clock.now() + FakeClock.TICK_SECONDS))
        return [DatabaseEvent(database_of(it.body), it.handle) for it in messages]

    def delete(self, events: Sequence[DatabaseEvent]) -> None:
        for event in events:
            self.queue.delete(event.handle)
