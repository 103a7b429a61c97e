"""Fakes for a fleet: target groups with tags, look-ups, and queues like those of SQS."""

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

#: A valid tag value (NLB user guide, *Tag a target group*; the API reference has 256).
_TAG_VALUE = re.compile(r"[\w .:/=+\-@]{0,255}")
_MOST_TAGS = 50


class Faults:
    """The errors that the next calls raise, one after another."""

    def __init__(self) -> None:
        self._planned: list[Exception] = []

    def plan(self, error: Exception, times: int = 1) -> None:
        self._planned += [error] * times

    def raise_next(self) -> None:
        if self._planned:
            raise self._planned.pop(0)


class FakeTaggedGroups:
    """Target groups and their tags. Implements ``TaggedGroupsPort`` and ``GroupTagsPort``.

    Attributes:
        lag: The age of a listing in seconds.
        listings: The number of listings.
        writes: Every written tag.
        faults: Faults of the listing.
        write_faults: Faults of writing a tag, which then has no effect.
    """

    def __init__(self, clock: FakeClock, lag: float = 0.0) -> None:
        self._clock = clock
        self._history: dict[str, list[tuple[float, Mapping[str, str] | None]]] = {}
        self.lag = lag
        self.listings = 0
        self.writes: list[tuple[str, str, str]] = []
        self.faults, self.write_faults = Faults(), Faults()

    def put(self, arn: str, tags: Mapping[str, str]) -> None:
        """Add a group with exactly these tags, listed at once."""
        self._history[arn] = [(float("-inf"), dict(tags))]

    def delete(self, arn: str) -> None:
        """Delete the group; an older listing still has it."""
        self._change(arn, None)

    def tag(self, arn: str, key: str, value: str) -> None:
        """Set a tag as a person."""
        self._change(arn, {**self.tags(arn), key: value})

    def untag(self, arn: str, key: str) -> None:
        """Remove a tag as a person."""
        self._change(arn, {k: v for k, v in self.tags(arn).items() if k != key})

    def tags(self, arn: str) -> Mapping[str, str]:
        """Return the present tags of a group, which a listing may not have."""
        tags = self._history[arn][-1][1] if arn in self._history else None
        if tags is None:
            raise AwsNotFoundError("AddTags", "TargetGroupNotFound", arn)
        return tags

    def list_groups(self) -> Sequence[TaggedGroup]:
        self.listings += 1
        self.faults.raise_next()
        seen = self._clock.now() - self.lag
        found = []
        for arn, changes in self._history.items():
            tags = [tags for at, tags in changes if at <= seen][-1]
            if tags is not None and ENDPOINT_TAG in tags:
                found.append(TaggedGroup(arn, frozenset(tags.items())))
        return found

    def write(self, arn: str, key: str, value: str) -> None:
        self.write_faults.raise_next()
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
        known: The facts of all existing groups.
        calls: The groups of each call.
    """

    def __init__(self, known: Mapping[str, GroupFacts] | None = None) -> None:
        self.known = dict(known or {})
        self.calls: list[frozenset[str]] = []
        self.faults = Faults()

    def describe(self, arns: Collection[str]) -> Mapping[str, GroupFacts]:
        self.calls.append(frozenset(arns))
        self.faults.raise_next()
        return {arn: self.known[arn] for arn in arns if arn in self.known}


# ----------------------------------------------------------------------------------------- names


class FakeNameLookups:
    """Implements ``NameLookupsPort``: resolves every kind of endpoint by its name.

    Attributes:
        dns: The addresses of the names.
        calls: The keys of each call.
    """

    def __init__(self, dns: FakeDns) -> None:
        self.dns = dns
        self.calls: list[Sequence[EndpointKey]] = []

    def look_up(
        self, endpoint_keys: Sequence[EndpointKey]
    ) -> Mapping[EndpointKey, Observation | FailedObservation]:
        self.calls.append(tuple(endpoint_keys))
        return {endpoint_key: self.dns.resolve(endpoint_key[1]) for endpoint_key in endpoint_keys}


# ---------------------------------------------------------------------------------------- queues

#: SQS accepts a deduplication ID once in this time (SQS developer guide, *FIFO key terms*).
DEDUPLICATION_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A received message.

    Attributes:
        id: The message ID, which a duplicate shares.
        handle: The receipt handle of this delivery.
        receptions: The number of deliveries, this one included.
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
    """An SQS queue: messages are in flight until the visibility time-out.

    With ``fifo`` a group is locked while one of its messages is in flight, its messages keep their
    sequence, and a deduplication ID counts once in five minutes. A message becomes a dead letter
    instead of being delivered more than ``most_receptions`` times.

    Attributes:
        dead: The dead letters.
        faults: Faults of sending and receiving.
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
        self.faults.raise_next()
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
        self.faults.raise_next()
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
        """Delete a message; a FIFO queue ignores an expired handle (DeleteMessage)."""
        now = self._clock.now()
        self._stored = [
            m for m in self._stored if m.handle != handle or (self._fifo and m.visible_at <= now)
        ]

    @property
    def waiting(self) -> int:
        """The number of messages, including those in flight."""
        self._expire()
        return len(self._stored)

    @property
    def bodies(self) -> list[str]:
        """The bodies of all messages, in sequence."""
        self._expire()
        return [message.body for message in self._stored]

    def duplicate(self) -> None:
        """Duplicate each message, because SQS delivers at least once.

        The duplicate has another message group, so that two workers get the work item at once.
        """
        doubles = [
            replace(m, group=f"{m.group}, duplicate", visible_at=self._clock.now(), handle="")
            for m in self._stored
        ]
        self._stored += doubles

    def shuffle(self, random: Random) -> None:
        """Shuffle the messages, across and within the groups."""
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
    """Return Lambda's event for a batch (Lambda guide, *Using Lambda with SQS*)."""
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
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:fleet-work.fifo",
                "awsRegion": "eu-west-1",
            }
            for message in messages
        ]
    }


def settle(queue: FakeQueue, messages: Sequence[Message], response: Mapping[str, Any]) -> None:
    """Delete the messages that the function did not report as failed, as Lambda does.

    Lambda deletes none if the function reports a message that was not in the batch (Lambda guide,
    *Reporting batch item failures*).
    """
    failed = {item["itemIdentifier"] for item in response.get("batchItemFailures", ())}
    if not failed <= {message.id for message in messages}:
        return
    for message in messages:
        if message.id not in failed:
            queue.delete(message.handle)


@dataclass
class FakeWorkQueue:
    """Implements ``WorkQueuePort`` over a FIFO queue.

    Attributes:
        sent: Every sent work item, including dropped ones.
        calls: The number of calls of each method.
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
        self.queue.faults.raise_next()
        return self.queue.waiting


@dataclass
class FakeDatabaseEvents:
    """Implements ``DatabaseEventsPort`` over a standard queue. Waiting moves the clock."""

    clock: FakeClock

    def __post_init__(self) -> None:
        self.queue = FakeQueue(self.clock, visibility=200.0)

    def send_event(self, identifier: str) -> None:
        """Send an RDS event of this instance or cluster."""
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
