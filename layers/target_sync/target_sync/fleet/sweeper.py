"""Runs a sweep: list the groups, observe their endpoints, plan, send work items, report."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from target_sync.fleet.checkpoints import AuditCursor, SigningKey, write_cursor
from target_sync.fleet.groups import BoundGroups
from target_sync.fleet.model import WorkReason
from target_sync.fleet.planner import (
    PlannedWork,
    RoundRobin,
    SweepCapacity,
    SweepPlan,
    endpoint_keys,
    newest_cursor,
    plan_sweep,
)
from target_sync.fleet.ports import NameLookupsPort, WorkQueuePort
from target_sync.fleet.rate_limits import calls_per_second
from target_sync.fleet.result import SweepResult
from target_sync.fleet.work_items import CursorWorkItem, SyncWorkItem
from target_sync.ports import Clock, Reporter
from target_sync.triggers import Trigger

#: Seconds at the end of a function's time that are reserved for the last calls and the report.
RESERVE_SECONDS = 8.0
#: Work that is not urgent is sent in batches of this size, the next one when fewer work items are
#: queued. So a failover finds idle workers and few work items before it.
BATCH = 10
#: One batch in the queue gives workers more than 100 work items per sweep. Three batches use the
#: whole share (docs/bench/fleet.md).
WORK_PER_BATCH, MAX_BATCHES = 100, 3
#: The time between two counts of the queue.
PAUSE_SECONDS = 1.0
#: After this time without a finished work item, the queued ones wait for a retry. They occupy no
#: worker, so they must not hold back other work.
STALLED_SECONDS = 10.0


@dataclass(slots=True, kw_only=True)
class Sweeper:
    """Finds the groups that need work, and sends them to the workers.

    A failed sweep has sent some work items and changed nothing else. The next one plans the same
    work again. Two concurrent sweeps do no harm: the queue drops equal work items of a minute.

    Attributes:
        key: The signing key of checkpoints and of the audit cursor.
        share: The part of the account's calls to ELB that the workers may make.
        epoch: Returns the time in seconds since the epoch.
    """

    groups: BoundGroups
    lookups: NameLookupsPort
    queue: WorkQueuePort
    key: SigningKey
    share: float
    clock: Clock
    epoch: Callable[[], float]
    reporter: Reporter[SweepResult]
    #: How many work items were stalled at the end of the last sweep of this container. They do not
    #: reduce the capacity.
    _stalled: int = field(default=0, init=False)
    #: The audit cursor of the last sweep, which the listing may not show yet.
    _cursor: AuditCursor | None = field(default=None, init=False)
    #: None in a new container, which starts at a random position.
    _round_robin: RoundRobin | None = field(default=None, init=False)

    def run(self, trigger: Trigger, *, remaining_seconds: float) -> SweepResult:
        """Sweep once in the time that the function has left.

        Raises:
            AwsCallError: A call to list the groups or to use the queue failed.
        """
        began = self.clock.now()
        listed, findings = self.groups.read()
        observations = self.lookups.look_up(endpoint_keys(listed))
        queued, now = self.queue.count(), self.epoch()
        round_robin = self._round_robin or RoundRobin(changed=str(now), unverified=str(now))
        plan = plan_sweep(
            listed,
            observations,
            key=self.key,
            cursor=self._newest(newest_cursor(listed, self.key, now)),
            capacity=SweepCapacity.of(self.share).minus(max(0, queued - self._stalled)),
            now=now,
            round_robin=round_robin,
        )
        work: Sequence[PlannedWork] = plan.work
        if not trigger.dry_run:
            checkpoints = {group.binding.arn: group.checkpoint for group in listed}
            work = self._send_plan(plan, checkpoints, began + remaining_seconds - RESERVE_SECONDS)
            self._round_robin = round_robin.after(work)
        result = SweepResult(
            trigger=trigger.to_document(),
            dry_run=trigger.dry_run,
            bound=len(listed),
            findings=(*findings, *plan.findings),
            work=tuple(work),
            postponed=plan.postponed + len(plan.work) - len(work),
            queued=queued,
            seconds=self.clock.now() - began,
        )
        self.reporter.report(result)
        return result

    def _send_plan(
        self, plan: SweepPlan, checkpoints: Mapping[str, str], deadline: float
    ) -> Sequence[PlannedWork]:
        """Send changed groups at once and the rest in batches; return the work that was sent."""
        urgent = _of_reason(plan, WorkReason.ADDRESSES_CHANGED)
        # Interleaved, because the deadline may come before the rest is sent.
        rest = _interleaved(
            _of_reason(plan, WorkReason.UNVERIFIED), _of_reason(plan, WorkReason.AUDIT)
        )
        self._send(urgent, checkpoints)
        sent = self._send_in_batches(rest, checkpoints, deadline)
        cursor = plan.cursors[sum(work.reason is WorkReason.AUDIT for work in sent)]
        if cursor is not None:
            work_item = CursorWorkItem(cursor.arn, write_cursor(cursor, self.key))
            self.queue.send([work_item], self.epoch())
            self._cursor = cursor
        return [*urgent, *sent]

    def _newest(self, listed: AuditCursor | None) -> AuditCursor | None:
        """Return the newer cursor: the listed one may be another container's."""
        cursors = [cursor for cursor in (listed, self._cursor) if cursor is not None]
        return max(cursors, key=lambda cursor: cursor.at, default=None)

    def _send_in_batches(
        self, work: Sequence[PlannedWork], checkpoints: Mapping[str, str], deadline: float
    ) -> Sequence[PlannedWork]:
        """Send as much of this work as the deadline allows, and return it."""
        batches = min(math.ceil(len(work) / WORK_PER_BATCH), MAX_BATCHES)
        backlog, sent = _Backlog(batches * BATCH), 0
        while sent < len(work) and (now := self.clock.now()) < deadline:
            pause = PAUSE_SECONDS
            if backlog.is_short(self.queue.count(), now):
                self._send(work[sent : sent + BATCH], checkpoints)
                sent += BATCH
                # The workers cannot be faster, and the count of SQS may be old.
                pause = BATCH / calls_per_second(self.share)
            self._stalled = backlog.stalled(now)
            if sent < len(work):
                self.clock.sleep_until(now + pause)
        return work[:sent]

    def _send(self, work: Sequence[PlannedWork], checkpoints: Mapping[str, str]) -> None:
        work_items = [
            SyncWorkItem(it.binding, checkpoints[it.binding.arn], it.reason) for it in work
        ]
        self.queue.send(work_items, self.epoch())


@dataclass(slots=True)
class _Backlog:
    """How many work items are queued, and how many of them are stalled.

    ``target`` is the number of active work items that keeps the workers busy.
    """

    target: int
    lowest: int = sys.maxsize
    lowest_at: float = 0.0

    def is_short(self, queued: int, now: float) -> bool:
        """Note the count, and return whether the workers need more work."""
        if queued < self.lowest:
            self.lowest, self.lowest_at = queued, now
        return queued < self.stalled(now) + self.target

    def stalled(self, now: float) -> int:
        """Return how many of the work items are stalled."""
        return self.lowest if now - self.lowest_at >= STALLED_SECONDS else 0


def _of_reason(plan: SweepPlan, reason: WorkReason) -> Sequence[PlannedWork]:
    return [work for work in plan.work if work.reason is reason]


def _interleaved(
    some: Sequence[PlannedWork], others: Sequence[PlannedWork]
) -> Sequence[PlannedWork]:
    return [work for work in chain.from_iterable(zip_longest(some, others)) if work is not None]
