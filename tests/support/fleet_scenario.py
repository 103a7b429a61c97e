"""A fleet of fakes, with workers that always succeed, for the sweep and the watch."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from target_sync.fleet.checkpoints import write_checkpoint
from target_sync.fleet.groups import BoundGroups
from target_sync.fleet.model import (
    AUDIT_CURSOR_TAG,
    CHECKPOINT_TAG,
    ENDPOINT_TAG,
    GroupFacts,
    WorkReason,
)
from target_sync.fleet.ports import DatabaseEvent
from target_sync.fleet.result import SweepResult, WatchResult
from target_sync.fleet.sweeper import Sweeper
from target_sync.fleet.watcher import Watcher
from target_sync.fleet.work_items import CursorWorkItem, SyncWorkItem, WorkItem, read_work_item
from target_sync.model import AwsScope, FailedObservation
from target_sync.triggers import Trigger, TriggerKind
from tests.support.clock import FakeClock
from tests.support.databases import FakeDns
from tests.support.fleet import (
    FakeDatabaseEvents,
    FakeGroupFacts,
    FakeNameLookups,
    FakeTaggedGroups,
    FakeWorkQueue,
)
from tests.unit.fleet.builders import FACTS, KEY, LIMITS, A, arn, binding, name

#: The start of the clock, in seconds since the epoch: the beginning of a minute.
NOW = 1_732_300_020.0
SCOPE = AwsScope("aws", "eu-west-1", "123456789012")
SCHEDULED = Trigger(kind=TriggerKind.SCHEDULE)
#: The functions' time-outs (fleet.yaml).
SWEEP_TIMEOUT, WATCH_TIMEOUT = 58.0, 180.0


@dataclass
class FakeReporter:
    """Keeps the results of the sweep and of the watch."""

    all: list[SweepResult | WatchResult] = field(default_factory=list)

    def report(self, result: SweepResult | WatchResult) -> None:
        self.all.append(result)


class FleetScenario:
    """Tagged groups, their names and the queues, with a sweeper and a watcher.

    Attributes:
        done: The work items that the workers have carried out.
        verify: The action of the workers on a group.
    """

    def __init__(self, lag: float = 0.0, watch_seconds: float = 120.0) -> None:
        self.clock = FakeClock(NOW)
        self.tagged = FakeTaggedGroups(self.clock, lag)
        self.facts = FakeGroupFacts()
        self.dns = FakeDns(self.clock)
        self.lookups = FakeNameLookups(self.dns)
        self.queue = FakeWorkQueue(self.clock)
        self.events = FakeDatabaseEvents(self.clock)
        self.reporter = FakeReporter()
        self.done: list[WorkItem] = []
        self.verify = self._verify
        self.sweeper = self.new_sweeper()
        self.watcher = Watcher(
            groups=self._groups(),
            lookups=self.lookups,
            queue=self.queue,
            events=self.events,
            key=KEY,
            watch_seconds=watch_seconds,
            clock=self.clock,
            epoch=self.clock.now,
            reporter=self.reporter,
        )

    def new_sweeper(self) -> Sweeper:
        """Return the sweeper of a new container."""
        return Sweeper(
            groups=self._groups(),
            lookups=self.lookups,
            queue=self.queue,
            key=KEY,
            share=0.5,
            clock=self.clock,
            epoch=self.clock.now,
            reporter=self.reporter,
        )

    def add(self, *numbers: int, facts: GroupFacts = FACTS) -> None:
        """Add unverified groups whose names resolve to A."""
        for number in numbers:
            self.tagged.put(arn(number), {ENDPOINT_TAG: name(number)})
            self.facts.known[arn(number)] = facts
            self.dns.set_addresses(name(number), A)

    def add_verified(self, *numbers: int) -> None:
        """Add groups that were verified for A, and whose names resolve to A."""
        self.add(*numbers)
        for number in numbers:
            checkpoint = write_checkpoint(binding(number), [A], KEY)
            self.tagged.put(arn(number), {ENDPOINT_TAG: name(number), CHECKPOINT_TAG: checkpoint})

    def change_address(self, number: int, address: IPv4Address) -> None:
        """Change the address of a name."""
        self.dns.set_addresses(name(number), address)

    def sweep(self, trigger: Trigger = SCHEDULED) -> SweepResult:
        """Sweep once, and wait for the next minute."""
        began = self.clock.now()
        try:
            return self.sweeper.run(trigger, remaining_seconds=SWEEP_TIMEOUT)
        finally:
            self.clock.sleep_until(began + 60.0)

    def watch(self, *identifiers: str, remaining: float = WATCH_TIMEOUT) -> WatchResult:
        """Run a watch with these events."""
        events = [DatabaseEvent(identifier) for identifier in identifiers]
        return self.watcher.run(events, remaining_seconds=remaining)

    def work(self, per_tick: int) -> None:
        """Let workers carry out this many work items in each half second from now on."""
        self.clock.every_tick(lambda: self.carry_out(per_tick))

    def carry_out(self, most: int) -> None:
        """Carry out some work items at once."""
        for message in self.queue.queue.receive(most):
            work_item = read_work_item(message.body)
            if isinstance(work_item, CursorWorkItem):
                self.tagged.write(work_item.arn, AUDIT_CURSOR_TAG, work_item.cursor)
            else:
                self.verify(work_item)
            self.done.append(work_item)
            self.queue.queue.delete(message.handle)

    def sent(self, reason: WorkReason) -> list[str]:
        """Return the groups that were sent for this reason, in sequence."""
        return [
            o.arn for o in self.queue.sent if isinstance(o, SyncWorkItem) and o.reason is reason
        ]

    def _verify(self, work_item: SyncWorkItem) -> None:
        observation = self.dns.resolve(work_item.binding.endpoint)
        if isinstance(observation, FailedObservation):
            return
        checkpoint = write_checkpoint(work_item.binding, observation.addresses, KEY)
        if checkpoint != work_item.checkpoint:
            self.tagged.write(work_item.arn, CHECKPOINT_TAG, checkpoint)

    def _groups(self) -> BoundGroups:
        return BoundGroups(
            tagged_groups=self.tagged,
            facts=self.facts,
            limits=LIMITS,
            scope=SCOPE,
            clock=self.clock,
        )
