"""The fleet: the shipped sweeper, watchers and workers, with models of AWS."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from random import Random

from bench.fleet_world import (
    FACTS_PAGE,
    LIMITS,
    SCOPE,
    Client,
    FleetWorld,
    address_of,
)
from lab.simulation.queues import EventQueue, Message, WorkQueue
from target_sync.errors import TargetSyncError
from target_sync.fleet.bindings import read_listing
from target_sync.fleet.checkpoints import SigningKey, write_checkpoint
from target_sync.fleet.groups import BoundGroups
from target_sync.fleet.model import (
    CHECKPOINT_TAG,
    Binding,
    EndpointKey,
    GroupFacts,
    TaggedGroup,
)
from target_sync.fleet.planner import SWEEP_SECONDS
from target_sync.fleet.rate_limiter import CallRateLimiter
from target_sync.fleet.rate_limits import DEFAULT_SHARE, Call, CallBudget
from target_sync.fleet.result import SweepResult, WatchResult
from target_sync.fleet.sweeper import Sweeper
from target_sync.fleet.watcher import Watcher
from target_sync.fleet.work_items import SyncWorkItem, WorkItem, read_work_item
from target_sync.fleet.worker import LogContext, Worker
from target_sync.model import Observation, Target, TargetGroup
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.reconciler import RunReporter
from target_sync.reconcile.result import SyncResult
from target_sync.triggers import Trigger, TriggerKind

#: fleet.yaml: MaxWorkers, the MaximumConcurrency of the watch, EventWatchDurationSeconds, and
#: each time-out.
WORKERS, WATCHERS, EVENT_WATCH_DURATION_SECONDS = 10, 2, 120.0
_SWEEP_TIMEOUT, _WATCH_TIMEOUT, _WORK_TIMEOUT = 58.0, 180.0, 90.0
_KEY = SigningKey(b"the key of the benchmark")
_SCHEDULE = Trigger(kind=TriggerKind.SCHEDULE)


class _NoReporter:
    """A reporter that writes nothing."""

    def report_iteration(self, run: RunState) -> None:
        """Nothing."""

    def report(self, result: SyncResult | SweepResult | WatchResult) -> None:
        """Nothing."""

    def for_run(self, context: LogContext) -> RunReporter:  # noqa: ARG002 - a protocol's
        """Do nothing."""
        return self

    def report_failure(self, context: LogContext, error: Exception) -> None:
        """Nothing."""

    def report_retry(self, context: LogContext, error: Exception) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Implements ``target_sync.ports.TargetGroupPort`` for one client."""

    world: FleetWorld
    client: Client
    arn: str

    def describe(self) -> TargetGroup:
        return self.client.call(Call.DESCRIBE, self.world.groups[self.arn].describe)

    def register(self, targets: Sequence[Target]) -> None:
        group = self.world.groups[self.arn]
        self.client.call(Call.REGISTRATION, lambda: group.register(targets))
        self.world.changed(self.arn)

    def deregister(self, targets: Sequence[Target]) -> None:
        group = self.world.groups[self.arn]
        self.client.call(Call.REGISTRATION, lambda: group.deregister(targets))
        self.world.changed(self.arn)


@dataclass(frozen=True, slots=True)
class _Tags:
    """Implements ``target_sync.fleet.ports.GroupTagsPort`` for one client."""

    world: FleetWorld
    client: Client

    def write(self, arn: str, key: str, value: str) -> None:
        tags = self.world.tags[arn]
        self.client.call(Call.MUTATING, lambda: tags.__setitem__(key, value))


@dataclass(frozen=True, slots=True)
class _Name:
    """Implements ``target_sync.ports.Endpoint``."""

    world: FleetWorld
    name: str

    def observe(self) -> Observation:
        (observation,) = self.world.observe([self.name])
        return observation


@dataclass(slots=True)
class _Container:
    """What a sweep or a watch sees and sends: all its ports but the queue of events.

    It takes the CPU time that it really takes, beside that of its calls. It has to be made by the
    actor itself, because that time is counted by thread.

    Attributes:
        swept_at: When its sweep began; None for a watch.
    """

    world: FleetWorld
    client: Client
    queue: WorkQueue
    swept_at: float | None = None
    _cpu: float = field(default_factory=time.thread_time)

    def list_groups(self) -> Sequence[TaggedGroup]:
        return self.world.listing()

    def describe(self, arns: Collection[str]) -> Mapping[str, GroupFacts]:
        for _ in range(0, len(arns), FACTS_PAGE):
            self.client.call(Call.DESCRIBE, bool, "facts")
        return self.world.facts

    def look_up(self, endpoint_keys: Sequence[EndpointKey]) -> Mapping[EndpointKey, Observation]:
        self._think()
        observations = self.world.observe([name for _, name in endpoint_keys])
        return dict(zip(endpoint_keys, observations, strict=True))

    def send(self, items: Sequence[WorkItem], at: float) -> None:
        self._think()
        self.queue.send(items, at, self.swept_at)

    def count(self) -> int:
        return self.queue.waiting()

    def groups(self) -> BoundGroups:
        """With what ELB knows of them, remembered."""
        return BoundGroups(
            tagged_groups=self, facts=self, limits=LIMITS, scope=SCOPE, clock=self.world.clock
        )

    def _think(self) -> None:
        clock, before = self.world.clock, self._cpu
        self._cpu = time.thread_time()
        clock.sleep_until(clock.now() + self._cpu - before)


@dataclass(slots=True)
class Fleet:
    """The shipped sweeper, watchers and workers. Queues, DNS and AWS are the benchmark's.

    Attributes:
        with_events: Whether RDS events name the databases that are about to fail over.
    """

    world: FleetWorld
    seed: int
    with_events: bool = True
    share: float = DEFAULT_SHARE
    _queue: WorkQueue = field(init=False)
    _over: bool = False

    def __post_init__(self) -> None:
        self._queue = WorkQueue(self.world.clock)

    def play(self, until: float) -> None:
        """Run until a time. Every group is verified at the start, and its checkpoint says so."""
        for binding in self._bindings():
            address = address_of(self.world.numbers[binding.arn], moved=False)
            text = write_checkpoint(binding, frozenset({address}), _KEY)
            self.world.tags[binding.arn][CHECKPOINT_TAG] = text
        self.world.clock.play(self._actors(until))

    def _actors(self, until: float) -> list[Callable[[], None]]:
        flips = sorted((flip.event, f"db-{number}") for number, flip in self.world.flips.items())
        events = EventQueue(self.world.clock, deque(flips if self.with_events else ()))
        return [
            lambda: self._sweeps(until),
            *(partial(self._watches, number, events) for number in range(WATCHERS)),
            *(partial(self._works, number) for number in range(WORKERS)),
        ]

    def _bindings(self) -> Sequence[Binding]:
        listed, _ = read_listing(self.world.tagged(), SCOPE, LIMITS, self.world.facts)
        return [item.binding for item in listed]

    def _client(self, name: str) -> Client:
        return Client(self.world.elb, Random(f"{self.seed}/{name}"))  # noqa: S311 - a simulation

    def _sweeps(self, until: float) -> None:
        clock = self.world.clock
        container = _Container(self.world, self._client("sweep"), self._queue)
        sweeper = Sweeper(
            groups=container.groups(),
            lookups=container,
            queue=container,
            key=_KEY,
            share=self.share,
            clock=clock,
            epoch=clock.now,
            reporter=_NoReporter(),
        )
        due = clock.now()
        while due < until:
            clock.sleep_until(due)
            container.swept_at = due
            sweeper.run(_SCHEDULE, remaining_seconds=_SWEEP_TIMEOUT)
            due += SWEEP_SECONDS
        self._over = True
        clock.wake()

    def _watches(self, number: int, events: EventQueue) -> None:
        clock = self.world.clock
        container = _Container(self.world, self._client(f"watch {number}"), self._queue)
        watcher = Watcher(
            groups=container.groups(),
            lookups=container,
            queue=container,
            events=events,
            key=_KEY,
            watch_seconds=EVENT_WATCH_DURATION_SECONDS,
            clock=clock,
            epoch=clock.now,
            reporter=_NoReporter(),
        )
        while batch := events.gathered():
            watcher.run(batch, remaining_seconds=_WATCH_TIMEOUT)

    def _works(self, number: int) -> None:
        clock, worker = self.world.clock, self._worker(number)
        while not (self._over and self._queue.is_empty):
            batch = self._queue.receive()
            if not batch:
                clock.park()
            elif left := self._carry_out(worker, batch):
                # No other work waits until these are visible again.
                clock.sleep_until(max(message.visible_at for message in left))

    def _worker(self, number: int) -> Worker:
        world, client = self.world, self._client(f"worker {number}")
        budget = CallBudget.of(world.clock.now(), share=self.share, workers=WORKERS)
        return Worker(
            clock=world.clock,
            target_group=lambda binding: _Group(world, client, binding.arn),
            tags=_Tags(world, client),
            rate_limiter=CallRateLimiter(world.clock, budget, lambda: client.throttlings),
            endpoint=lambda binding: _Name(world, binding.endpoint),
            reporter=_NoReporter(),
            key=_KEY,
        )

    def _carry_out(self, worker: Worker, batch: Sequence[Message]) -> Sequence[Message]:
        """Process a batch as ``functions/fleet_worker/app.py`` does; return the failed messages."""
        clock, done = self.world.clock, list[Message]()
        until = clock.now() + _WORK_TIMEOUT
        by_group = defaultdict[str, list[Message]](list)
        for message in batch:
            by_group[message.group].append(message)
        waiting = [
            (clock.now(), number, self._one_by_one(worker, messages, until, done))
            for number, messages in enumerate(by_group.values())
        ]
        while waiting:
            at, number, run = heappop(waiting)
            clock.sleep_until(at)
            # The other runs continue while this one waits.
            after = next((moment for moment in run if moment > clock.now()), None)
            if after is not None:
                heappush(waiting, (after, number, run))
        self._queue.settle(done)
        return [message for message in batch if message not in done]

    def _one_by_one(
        self, worker: Worker, messages: Sequence[Message], until: float, done: list[Message]
    ) -> Iterator[float]:
        clock = self.world.clock
        for message in messages:
            item = read_work_item(message.text)
            try:
                yield from worker.run_in_steps(item, until - clock.now())
            except TargetSyncError:
                self.world.failed += 1
                continue
            done.append(message)
            if message.swept_at is not None:
                self.world.finished(message.swept_at)
            if isinstance(item, SyncWorkItem):
                self.world.verified(self.world.numbers[item.arn])
