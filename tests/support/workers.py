"""Workers of a fleet on one virtual clock: containers that take orders from a queue, and die.

A container does what ``functions/fleet_worker/app.py`` does with a batch, but its waits are
moments of the clock, so that several containers take turns between any two of their calls.
"""

import asyncio
import heapq
import selectors
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import TypeVar

from target_sync.errors import (
    AwsAccessDeniedError,
    AwsNotFoundError,
    AwsUnavailableError,
    TargetSyncError,
)
from target_sync.fleet.checkpoints import SigningKey, read_checkpoint, write_checkpoint
from target_sync.fleet.model import Binding, WorkReason
from target_sync.fleet.rate_limiter import CallRateLimiter
from target_sync.fleet.rate_limits import CallBudget
from target_sync.fleet.work_items import SyncWorkItem, UnreadableWorkItemError, read_work_item
from target_sync.fleet.worker import LogContext, Worker
from target_sync.model import (
    DatabaseKind,
    FailedObservation,
    IPAddress,
    Observation,
    SyncPolicy,
    Target,
    TargetGroup,
)
from target_sync.ports import Endpoint, NameResolver, TargetGroupPort
from target_sync.reconcile.reconciler import RunReporter
from target_sync.reconcile.result import SyncResult
from tests.support.clock import FakeClock
from tests.support.databases import FakeDns
from tests.support.fleet import FakeQueue, FakeTaggedGroups, FakeWorkQueue, Message, settle
from tests.support.scenario import POLICY, FakeReporter, FakeTargetGroup, target

KEY = SigningKey(b"a secret of this deployment")
#: Of fleet.yaml: a function's time-out, its batch and how many of them there may be at once.
FUNCTION_SECONDS = 90.0
BATCH = 2
WORKERS = 10
DAY_SECONDS = 86_400.0
#: How soon an idle container looks at the queue again.
_POLL_SECONDS = 1.0

_T = TypeVar("_T")


class Fault(StrEnum):
    """What may happen to a call."""

    THROTTLED = "throttled"
    TIMED_OUT = "timed_out"
    #: The change was made, and nobody hears of it.
    REPLY_LOST = "reply_lost"
    DENIED = "denied"
    DELETED = "deleted"


@dataclass
class Line:
    """Every call of the workers to ELB, and what happens to some of them.

    Attributes:
        faults: By the number of the call, from 0.
        calls: What was called for which group, in order.
        moments: When.
        throttled: How often AWS said slow down.
    """

    clock: FakeClock
    faults: dict[int, Fault] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    throttled: int = 0

    def call(self, operation: str, arn: str, deed: Callable[[], _T]) -> _T:
        fault = self.faults.get(len(self.calls))
        self.calls.append((operation, arn))
        self.moments.append(self.clock.now())
        match fault:
            case Fault.THROTTLED:
                self.throttled += 1
                raise AwsUnavailableError(operation, "Throttling", "Rate exceeded")
            case Fault.TIMED_OUT:
                raise AwsUnavailableError(operation, "ReadTimeoutError", "no reply")
            case Fault.DENIED:
                raise AwsAccessDeniedError(operation, "AccessDenied", "not authorized")
            case Fault.DELETED:
                raise AwsNotFoundError(operation, "TargetGroupNotFound", arn)
        result = deed()
        if fault is Fault.REPLY_LOST:
            raise AwsUnavailableError(operation, "ConnectionClosedError", "no reply")
        return result

    @property
    def operations(self) -> list[str]:
        """What was called, in order."""
        return [operation for operation, _ in self.calls]


@dataclass(frozen=True, slots=True)
class _LinedGroup:
    """Implements ``target_sync.ports.TargetGroupPort``."""

    arn: str
    group: FakeTargetGroup | None
    line: Line

    def describe(self) -> TargetGroup:
        return self.line.call("DescribeTargetHealth", self.arn, self._found().describe)

    def register(self, targets: Sequence[Target]) -> None:
        group = self._found()
        self.line.call("RegisterTargets", self.arn, lambda: group.register(targets))

    def deregister(self, targets: Sequence[Target]) -> None:
        group = self._found()
        self.line.call("DeregisterTargets", self.arn, lambda: group.deregister(targets))

    def _found(self) -> FakeTargetGroup:
        if self.group is None:
            raise AwsNotFoundError("a call", "TargetGroupNotFound", self.arn)
        return self.group


@dataclass(frozen=True, slots=True)
class _LinedTags:
    """Implements ``target_sync.fleet.ports.GroupTagsPort``."""

    tags: FakeTaggedGroups
    line: Line

    def write(self, arn: str, key: str, value: str) -> None:
        self.line.call("AddTags", arn, lambda: self.tags.write(arn, key, value))


@dataclass(frozen=True, slots=True)
class NamedEndpoint:
    """Implements ``target_sync.ports.Endpoint``: by name; of a cluster, by two sources."""

    binding: Binding
    resolver: NameResolver

    def observe(self) -> Observation | FailedObservation:
        observation = self.resolver.resolve(self.binding.endpoint)
        if isinstance(observation, FailedObservation) or not self.binding.kind.is_cluster:
            return observation
        return Observation(
            name=observation.name,
            addresses=observation.addresses,
            second=observation.addresses,
            source="dns+rds",
            ttl=observation.ttl,
            at=observation.at,
        )


@dataclass
class FakeReports:
    """Implements ``target_sync.fleet.worker.Reports``: it keeps what it is told.

    Attributes:
        runs: What each run was about, and how it ended.
        failures: What failed for good elsewhere than in a run.
        again: The orders that came again.
    """

    runs: list[tuple[LogContext, SyncResult]] = field(default_factory=list)
    failures: list[tuple[LogContext, Exception]] = field(default_factory=list)
    again: list[tuple[LogContext, Exception]] = field(default_factory=list)

    def for_run(self, context: LogContext) -> RunReporter:
        return _RunReporter(context, self)

    def report_failure(self, context: LogContext, error: Exception) -> None:
        self.failures.append((context, error))

    def report_retry(self, context: LogContext, error: Exception) -> None:
        self.again.append((context, error))

    @property
    def statuses(self) -> list[str]:
        """How the runs ended, in order."""
        return [result.status.value for _, result in self.runs]


class _RunReporter(FakeReporter):
    def __init__(self, context: LogContext, reports: FakeReports) -> None:
        super().__init__()
        self._subject, self._reports = context, reports

    def report(self, result: SyncResult) -> None:
        super().report(result)
        self._reports.runs.append((self._subject, result))


def arn_of(number: int) -> str:
    """The ARN of a target group."""
    return (
        f"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/db-{number}/{number:016x}"
    )


class SlowClock(FakeClock):
    """Health checks every five seconds, as AWS makes them: these stories last for minutes."""

    TICK_SECONDS = 5.0


class Fleet:
    """Groups, their databases, a queue, and containers that take orders from it.

    Attributes:
        kills: The steps of the containers, counted from 1, at which Lambda kills the one whose
            turn it is. A step is from one wait of a batch to the next.
        sent: How many messages the queue took.
        steps: How many there were.
        killed: How many containers were killed.
        undeleted: Batches, counted from 1, whose messages come again although they were done.
        last_calls: What each of them had called last.
        returns: How often each message was received and not deleted afterwards.
        done: The messages that were deleted.

    Args:
        containers: How many there are at once.
        alone: Whether the queue promises that each group has one worker at a time.
    """

    def __init__(self, *, containers: int = 1, alone: bool = True) -> None:
        self.clock = SlowClock()
        self.tags = FakeTaggedGroups(self.clock)
        self.dns = FakeDns(self.clock)
        self.work_items = FakeWorkQueue(self.clock)
        # No order expires here, so that each has an end of its own: the sweep would send it anew.
        self.work_items.queue = FakeQueue(self.clock, fifo=True, retention=DAY_SECONDS)
        self.line = Line(self.clock)
        self.reports = FakeReports()
        self.groups: dict[str, FakeTargetGroup] = {}
        self.bindings: dict[str, Binding] = {}
        self.kills: set[int] = set()
        self.undeleted: set[int] = set()
        self.sent = self.steps = self.killed = self.batches = 0
        self.last_calls: list[str] = []
        self.returns: Counter[str] = Counter()
        self.done: set[str] = set()
        self._alone = alone
        self._busy: set[str] = set()
        self._containers = containers

    # ------------------------------------------------------------------------------- the world

    def adds(
        self,
        number: int,
        *registered: object,
        resolves_to: object = None,
        kind: DatabaseKind = DatabaseKind.RDS_INSTANCE,
        policy: SyncPolicy = POLICY,
        record_of: object = None,
    ) -> Binding:
        """A group with these targets, bound to a name, verified for an address or not at all."""
        binding = Binding(
            arn=arn_of(number), endpoint=f"db-{number}.internal", kind=kind, policy=policy
        )
        group = FakeTargetGroup(self.clock)
        group.register_externally(*(target(address) for address in registered))
        self.groups[binding.arn], self.bindings[binding.arn] = group, binding
        tags = {"privatelink-sync:endpoint": binding.endpoint}
        if record_of is not None:
            tags["privatelink-sync:checkpoint"] = write_checkpoint(
                binding, [target(record_of).address], KEY
            )
        self.tags.put(binding.arn, tags)
        if resolves_to is not None:
            self.dns.set_addresses(binding.endpoint, resolves_to)
        return binding

    def deletes(self, binding: Binding) -> None:
        """Somebody deletes a group."""
        del self.groups[binding.arn]
        self.tags.delete(binding.arn)

    def work_item(
        self, binding: Binding, reason: WorkReason = WorkReason.ADDRESSES_CHANGED
    ) -> SyncWorkItem:
        """What a sweep would send now."""
        return SyncWorkItem(binding, self.record_text(binding), reason)

    def sends(self, *bindings: Binding, reason: WorkReason = WorkReason.ADDRESSES_CHANGED) -> None:
        """Order work on these groups, as a sweep would."""
        before = self.work_items.queue.waiting
        self.work_items.send([self.work_item(it, reason) for it in bindings], self.clock.now())
        self.sent += self.work_items.queue.waiting - before

    def poisons(self, body: str) -> None:
        """Somebody sends what is no order; nothing follows it in its group."""
        self.sent += 1
        self.work_items.queue.send(body, group=f"poison {self.sent}", deduplication=f"{self.sent}")

    def record_text(self, binding: Binding) -> str:
        return self.tags.tags(binding.arn).get("privatelink-sync:checkpoint", "")

    def is_recorded_for(self, binding: Binding, *addresses: object) -> bool:
        """Whether the group's record says that it was right for these addresses."""
        checkpoint = read_checkpoint(self.record_text(binding), binding, KEY)
        return checkpoint is not None and checkpoint.matches(_addresses(addresses))

    def registered(self, binding: Binding) -> set[str]:
        return {str(it) for it in self.groups[binding.arn].snapshot().registered}

    # ----------------------------------------------------------------------------- the workers

    def worker(self) -> Worker:
        """That of a container that has just been started."""
        budget = CallBudget.of(self.clock.now(), workers=WORKERS)
        return Worker(
            clock=self.clock,
            target_group=self._group,
            tags=_LinedTags(self.tags, self.line),
            rate_limiter=CallRateLimiter(self.clock, budget, lambda: self.line.throttled),
            endpoint=self.endpoint_of,
            reporter=self.reports,
            key=KEY,
        )

    def _group(self, binding: Binding) -> TargetGroupPort:
        return _LinedGroup(binding.arn, self.groups.get(binding.arn), self.line)

    def endpoint_of(self, binding: Binding) -> Endpoint:
        return NamedEndpoint(binding, self.dns)

    def plays(self, seconds: float = 5_000.0) -> None:
        """Let the containers work until the queue is empty.

        Raises:
            AssertionError: It is not after so many seconds.
        """
        end, turns = self.clock.now() + seconds, count()
        due = [(self.clock.now(), next(turns), self._lives()) for _ in range(self._containers)]
        while self.work_items.queue.waiting:
            at, _, container = heapq.heappop(due)
            assert at <= end, "orders are left"
            self.clock.sleep_until(at)
            heapq.heappush(due, (next(container), next(turns), container))
        for _, _, container in due:
            container.close()

    def _lives(self) -> Generator[float, None, None]:
        """Containers, one after the other's death."""
        while True:
            worker = self.worker()
            died = False
            while not died:
                messages = self.work_items.queue.receive(BATCH)
                if messages:
                    died = yield from self._batch(worker, messages)
                else:
                    yield self.clock.now() + _POLL_SECONDS

    def _batch(self, worker: Worker, messages: Sequence[Message]) -> Generator[float, None, bool]:
        """Work on a batch as the function does, and answer whether the container died of it."""
        self.batches += 1
        batch, ends_at, failed = self.batches, self.clock.now() + FUNCTION_SECONDS, set[str]()
        turns = count()
        due = [
            (self.clock.now(), next(turns), self._in_turn(worker, group, ends_at, failed))
            for group in _by_group(messages)
        ]
        while not self._dies(ends_at):
            if not due:
                response = {"batchItemFailures": [{"itemIdentifier": it} for it in failed]}
                received = {it.id for it in messages}
                kept = received if batch in self.undeleted else failed
                self.returns.update(kept)
                self.done |= received - kept
                if batch not in self.undeleted:
                    settle(self.work_items.queue, messages, response)
                return False
            _, _, run_in_steps = heapq.heappop(due)
            at = next(run_in_steps, None)
            if at is not None:
                heapq.heappush(due, (at, next(turns), run_in_steps))
            if due:
                yield due[0][0]
        for _, _, run_in_steps in due:
            run_in_steps.close()
        self.killed += 1
        self.last_calls += self.line.operations[-1:]
        self.returns.update(it.id for it in messages)
        return True

    def _dies(self, ends_at: float) -> bool:
        self.steps += 1
        return self.steps in self.kills or self.clock.now() > ends_at

    def _in_turn(
        self, worker: Worker, messages: Sequence[Message], ends_at: float, failed: set[str]
    ) -> Generator[float, None, None]:
        """The orders of one group, one after the other."""
        for message in messages:
            try:
                yield from self._course(worker, message, ends_at)
            except (TargetSyncError, UnreadableWorkItemError) as error:
                failed.add(message.id)
                self.reports.report_retry({"message_id": message.id}, error)

    def _course(
        self, worker: Worker, message: Message, ends_at: float
    ) -> Generator[float, None, None]:
        work_item = read_work_item(message.body)
        assert not (self._alone and work_item.arn in self._busy), "two workers on one group"
        self._busy.add(work_item.arn)
        try:
            yield from worker.run_in_steps(
                work_item, ends_at - self.clock.now(), redelivered=message.receptions > 1
            )
        finally:
            self._busy.discard(work_item.arn)


def _by_group(messages: Sequence[Message]) -> Iterable[Sequence[Message]]:
    groups = defaultdict[str, list[Message]](list)
    for message in messages:
        groups[message.group].append(message)
    return groups.values()


def _addresses(texts: Iterable[object]) -> frozenset[IPAddress]:
    return frozenset(target(text).address for text in texts)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a clock's: what waits for the time moves it.

    Args:
        clock: The clock.
    """

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(_TimelessSelector(clock))
        self._virtual = clock

    def time(self) -> float:
        return self._virtual.now()


class _TimelessSelector(selectors.SelectSelector):
    """Does not wait for the time to pass, but lets it pass."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing is left that could go on"
        self._clock.sleep_until(self._clock.now() + timeout)
        return super().select(0)
