"""The only sequencing of a sweep: list, ask, decide, hand out, report."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from target_sync.fleet.bound_groups import BoundGroups
from target_sync.fleet.checkpoints import AuditCursor, SigningKey, write_cursor
from target_sync.fleet.model import WorkReason
from target_sync.fleet.planner import (
    PlannedWork,
    RoundRobin,
    Sweep,
    SweepCapacity,
    decide,
    newest_cursor,
    questions,
)
from target_sync.fleet.ports import NamesPort, WorkQueuePort
from target_sync.fleet.rate_limits import calls_a_second
from target_sync.fleet.result import SweepResult
from target_sync.fleet.work_items import CursorWorkItem, SyncWorkItem
from target_sync.ports import Clock, Reporter
from target_sync.triggers import Trigger

#: Seconds kept back at the end of a function's time: the last calls, and the report.
RESERVE_SECONDS = 8.0
#: What can wait is handed out in portions of so many, while fewer orders than that wait: there are
#: idle workers then for a failover, and it stands behind few others.
PORTION = 10
#: With one portion out, workers get more than so many orders done in a sweep's time, and with
#: three they use the whole share (docs/bench/fleet.md).
PER_PORTION, MOST_PORTIONS = 100, 3
#: Between two looks at the queue.
PAUSE_SECONDS = 1.0
#: When nothing was finished for so long, what waits is what failed and waits for its next try. It
#: holds up no worker, so it must not hold up what can wait either.
STUCK_SECONDS = 10.0


@dataclass(slots=True, kw_only=True)
class Sweeper:
    """Finds out which groups need work, and tells the workers.

    A sweep that fails has changed nothing but sent some orders, and the next one sees all that it
    saw. Two at once do no harm: equal orders of a minute are one.

    Attributes:
        key: What the records and the mark are sealed with.
        share: How much of the account's calls to ELB the workers may make.
        epoch: The time in seconds since the epoch.
    """

    groups: BoundGroups
    names: NamesPort
    queue: WorkQueuePort
    key: SigningKey
    share: float
    clock: Clock
    epoch: Callable[[], float]
    reporter: Reporter[SweepResult]
    #: So many orders did not move in the last sweep of this container: they take up no room.
    _stuck: int = field(default=0, init=False)
    #: How far its audit came, which the listing may not have yet.
    _mark: AuditCursor | None = field(default=None, init=False)
    #: Where it goes on with what had no room; a new container begins anywhere.
    _turns: RoundRobin | None = field(default=None, init=False)

    def run(self, trigger: Trigger, *, remaining_seconds: float) -> SweepResult:
        """Sweep once.

        Args:
            trigger: What set this sweep off.
            remaining_seconds: The time that the function has left.

        Raises:
            AwsCallError: The groups could not be listed, or the queue took no order.
        """
        began = self.clock.now()
        listed, findings = self.groups.read()
        answers = self.names.ask(questions(listed))
        waiting, now = self.queue.waiting(), self.epoch()
        turns = self._turns or RoundRobin(changed=str(now), unverified=str(now))
        sweep = decide(
            listed,
            answers,
            key=self.key,
            mark=self._newest(newest_cursor(listed, self.key, now)),
            room=SweepCapacity.of(self.share).less(max(0, waiting - self._stuck)),
            now=now,
            turns=turns,
        )
        work: Sequence[PlannedWork] = sweep.work
        if not trigger.dry_run:
            records = {item.binding.arn: item.record for item in listed}
            work = self._hand_out(sweep, records, began + remaining_seconds - RESERVE_SECONDS)
            self._turns = turns.after(work)
        result = SweepResult(
            trigger=trigger.to_document(),
            dry_run=trigger.dry_run,
            bound=len(listed),
            findings=(*findings, *sweep.findings),
            work=tuple(work),
            postponed=sweep.postponed + len(sweep.work) - len(work),
            waiting=waiting,
            seconds=self.clock.now() - began,
        )
        self.reporter.report(result)
        return result

    def _hand_out(
        self, sweep: Sweep, records: Mapping[str, str], until: float
    ) -> Sequence[PlannedWork]:
        """Hand out what is urgent at once, the rest as the workers get on with it."""
        urgent = _of(sweep, WorkReason.ANSWER_CHANGED)
        # By turns, because time may run out before all of it is handed out.
        rest = _by_turns(_of(sweep, WorkReason.UNVERIFIED), _of(sweep, WorkReason.AUDIT))
        self._send(urgent, records)
        given = self._in_portions(rest, records, until)
        mark = sweep.marks[sum(work.cause is WorkReason.AUDIT for work in given)]
        if mark is not None:
            self.queue.send([CursorWorkItem(mark.arn, write_cursor(mark, self.key))], self.epoch())
            self._mark = mark
        return [*urgent, *given]

    def _newest(self, listed: AuditCursor | None) -> AuditCursor | None:
        """Where the audit goes on: another container may have got further, or this one."""
        marks = [mark for mark in (listed, self._mark) if mark is not None]
        return max(marks, key=lambda mark: mark.at, default=None)

    def _in_portions(
        self, works: Sequence[PlannedWork], records: Mapping[str, str], until: float
    ) -> Sequence[PlannedWork]:
        """Hand these out, and answer with those for which there was time."""
        portions = min(math.ceil(len(works) / PER_PORTION), MOST_PORTIONS)
        backlog, given = _Backlog(portions * PORTION), 0
        while given < len(works) and (now := self.clock.now()) < until:
            pause = PAUSE_SECONDS
            if backlog.is_short(self.queue.waiting(), now):
                self._send(works[given : given + PORTION], records)
                given += PORTION
                # The workers cannot be faster, and what SQS counts may be behind.
                pause = PORTION / calls_a_second(self.share)
            self._stuck = backlog.stuck(now)
            if given < len(works):
                self.clock.sleep_until(now + pause)
        return works[:given]

    def _send(self, works: Sequence[PlannedWork], records: Mapping[str, str]) -> None:
        orders = [SyncWorkItem(it.binding, records[it.binding.arn], it.cause) for it in works]
        self.queue.send(orders, self.epoch())


@dataclass(slots=True)
class _Backlog:
    """What waits in the queue, and how much of it moves.

    Attributes:
        enough: So many orders that move are enough for the workers.
        least: The fewest orders that have waited.
        since: Since when it were not fewer.
    """

    enough: int
    least: int = sys.maxsize
    since: float = 0.0

    def is_short(self, waiting: int, now: float) -> bool:
        """Whether the workers need more."""
        if waiting < self.least:
            self.least, self.since = waiting, now
        return waiting < self.stuck(now) + self.enough

    def stuck(self, now: float) -> int:
        """How many of them do not move."""
        return self.least if now - self.since >= STUCK_SECONDS else 0


def _of(sweep: Sweep, cause: WorkReason) -> Sequence[PlannedWork]:
    return [work for work in sweep.work if work.cause is cause]


def _by_turns(some: Sequence[PlannedWork], others: Sequence[PlannedWork]) -> Sequence[PlannedWork]:
    return [work for work in chain.from_iterable(zip_longest(some, others)) if work is not None]
