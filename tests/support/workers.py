"""Workers of a fleet on one virtual clock: containers that receive work items, and are killed.

A container handles a batch like ``functions/fleet_worker/app.py``, but yields at every wait, so
that several containers can run in turn on one clock.
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
#: The worker's time-out, batch size and maximum concurrency (fleet.yaml).
FUNCTION_SECONDS = 90.0
BATCH = 2
WORKERS = 10
DAY_SECONDS = 86_400.0
#: The time after which an idle container polls the queue again.
_POLL_SECONDS = 1.0

_T = TypeVar("_T")


class Fault(StrEnum):
    """The failures of a call."""

    THROTTLED = "throttled"
    TIMED_OUT = "timed_out"
    #: The change was made, but the reply was lost.
    REPLY_LOST = "reply_lost"
    DENIED = "denied"
    DELETED = "deleted"


@dataclass
class ElbCalls:
    """Records every call of the workers to ELB, and fails some of them.

    Attributes:
        faults: The faults by the number of the call, from 0.
        calls: The operation and the group of each call, in sequence.
        moments: The time of each call.
        throttled: The number of throttled replies.
    """

    clock: FakeClock
    faults: dict[int, Fault] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    throttled: int = 0

    def call(self, operation: str, arn: str, method: Callable[[], _T]) -> _T:
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
        result = method()
        if fault is Fault.REPLY_LOST:
            raise AwsUnavailableError(operation, "ConnectionClosedError", "no reply")
        return result

    @property
    def operations(self) -> list[str]:
        """The operations, in sequence."""
        return [operation for operation, _ in self.calls]


@dataclass(frozen=True, slots=True)
class _CountedGroup:
    """Implements ``target_sync.ports.TargetGroupPort``."""

    arn: str
    group: FakeTargetGroup | None
    elb: ElbCalls

    def describe(self) -> TargetGroup:
        return self.elb.call("DescribeTargetHealth", self.arn, self._found().describe)

    def register(self, targets: Sequence[Target]) -> None:
        group = self._found()
        self.elb.call("RegisterTargets", self.arn, lambda: group.register(targets))

    def deregister(self, targets: Sequence[Target]) -> None:
        group = self._found()
        self.elb.call("DeregisterTargets", self.arn, lambda: group.deregister(targets))

    def _found(self) -> FakeTargetGroup:
        if self.group is None:
            raise AwsNotFoundError("a call", "TargetGroupNotFound", self.arn)
        return self.group


@dataclass(frozen=True, slots=True)
class _CountedTags:
    """Implements ``target_sync.fleet.ports.GroupTagsPort``."""

    tags: FakeTaggedGroups
    elb: ElbCalls

    def write(self, arn: str, key: str, value: str) -> None:
        self.elb.call("AddTags", arn, lambda: self.tags.write(arn, key, value))


@dataclass(frozen=True, slots=True)
class FakeEndpoint:
    """Implements ``target_sync.ports.Endpoint``: by DNS; a cluster has two sources."""

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
class FakeWorkerReporter:
    """Implements ``target_sync.fleet.worker.WorkerReporter``, and keeps its calls.

    Attributes:
        runs: The context and the result of each run.
        failures: The permanent failures outside a run.
        again: The retries.
    """

    runs: list[tuple[LogContext, SyncResult]] = field(default_factory=list)
    failures: list[tuple[LogContext, Exception]] = field(default_factory=list)
    retries: list[tuple[LogContext, Exception]] = field(default_factory=list)

    def for_run(self, context: LogContext) -> RunReporter:
        return _RunReporter(context, self)

    def report_failure(self, context: LogContext, error: Exception) -> None:
        self.failures.append((context, error))

    def report_retry(self, context: LogContext, error: Exception) -> None:
        self.retries.append((context, error))

    @property
    def statuses(self) -> list[str]:
        """The statuses of the runs, in sequence."""
        return [result.status.value for _, result in self.runs]


class _RunReporter(FakeReporter):
    def __init__(self, context: LogContext, reporter: FakeWorkerReporter) -> None:
        super().__init__()
        self._subject, self._reports = context, reporter

    def report(self, result: SyncResult) -> None:
        super().report(result)
        self._reports.runs.append((self._subject, result))


def arn_of(number: int) -> str:
    """Return the ARN of a target group."""
    return (
        f"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/db-{number}/{number:016x}"
    )


class SlowClock(FakeClock):
    """A clock with a health check every five seconds, as in AWS, for tests that last minutes."""

    TICK_SECONDS = 5.0


class Fleet:
    """Groups, their databases, a queue, and containers that receive work items from it.

    Attributes:
        kills: The steps, counted from 1, at which Lambda kills the running container. A step
            is from one wait of a batch to the next.
        sent: The number of messages that the queue accepted.
        steps: The number of steps.
        killed: The number of killed containers.
        undeleted: The batches, counted from 1, whose messages are delivered again although done.
        last_calls: The last operation of each killed container.
        returns: How often each message was delivered and not deleted.
        done: The IDs of the deleted messages.

    Args:
        containers: The number of concurrent containers.
        alone: Whether to assert that each group has one worker at a time.
    """

    def __init__(self, *, containers: int = 1, exclusive: bool = True) -> None:
        self.clock = SlowClock()
        self.tags = FakeTaggedGroups(self.clock)
        self.dns = FakeDns(self.clock)
        self.work_queue = FakeWorkQueue(self.clock)
        # Work items do not expire here, so that each is done or becomes a dead letter.
        self.work_queue.queue = FakeQueue(self.clock, fifo=True, retention=DAY_SECONDS)
        self.elb = ElbCalls(self.clock)
        self.reporter = FakeWorkerReporter()
        self.groups: dict[str, FakeTargetGroup] = {}
        self.bindings: dict[str, Binding] = {}
        self.kills: set[int] = set()
        self.undeleted: set[int] = set()
        self.sent = self.steps = self.killed = self.batches = 0
        self.last_calls: list[str] = []
        self.returns: Counter[str] = Counter()
        self.done: set[str] = set()
        self._exclusive = exclusive
        self._busy: set[str] = set()
        self._containers = containers

    # ------------------------------------------------------------------------------------ the world

    def add(
        self,
        number: int,
        *registered: object,
        resolves_to: object = None,
        kind: DatabaseKind = DatabaseKind.RDS_INSTANCE,
        policy: SyncPolicy = POLICY,
        verified_for: object = None,
    ) -> Binding:
        """Add a group with these targets, with or without a checkpoint."""
        binding = Binding(
            arn=arn_of(number), endpoint=f"db-{number}.internal", kind=kind, policy=policy
        )
        group = FakeTargetGroup(self.clock)
        group.register_externally(*(target(address) for address in registered))
        self.groups[binding.arn], self.bindings[binding.arn] = group, binding
        tags = {"privatelink-sync:endpoint": binding.endpoint}
        if verified_for is not None:
            tags["privatelink-sync:checkpoint"] = write_checkpoint(
                binding, [target(verified_for).address], KEY
            )
        self.tags.put(binding.arn, tags)
        if resolves_to is not None:
            self.dns.set_addresses(binding.endpoint, resolves_to)
        return binding

    def delete_group(self, binding: Binding) -> None:
        """Delete a group."""
        del self.groups[binding.arn]
        self.tags.delete(binding.arn)

    def work_item(
        self, binding: Binding, reason: WorkReason = WorkReason.ADDRESSES_CHANGED
    ) -> SyncWorkItem:
        """Return the work item that a sweep would send now."""
        return SyncWorkItem(binding, self.checkpoint_text(binding), reason)

    def send(self, *bindings: Binding, reason: WorkReason = WorkReason.ADDRESSES_CHANGED) -> None:
        """Send these groups, as a sweep would."""
        before = self.work_queue.queue.waiting
        self.work_queue.send([self.work_item(it, reason) for it in bindings], self.clock.now())
        self.sent += self.work_queue.queue.waiting - before

    def send_unreadable(self, body: str) -> None:
        """Send an unreadable message in a message group of its own."""
        self.sent += 1
        self.work_queue.queue.send(body, group=f"poison {self.sent}", deduplication=f"{self.sent}")

    def checkpoint_text(self, binding: Binding) -> str:
        return self.tags.tags(binding.arn).get("privatelink-sync:checkpoint", "")

    def is_verified_for(self, binding: Binding, *addresses: object) -> bool:
        """Return whether the group's checkpoint is for these addresses."""
        checkpoint = read_checkpoint(self.checkpoint_text(binding), binding, KEY)
        return checkpoint is not None and checkpoint.matches(_addresses(addresses))

    def registered(self, binding: Binding) -> set[str]:
        return {str(it) for it in self.groups[binding.arn].snapshot().registered}

    # ---------------------------------------------------------------------------------- the workers

    def worker(self) -> Worker:
        """Return the worker of a new container."""
        budget = CallBudget.of(self.clock.now(), workers=WORKERS)
        return Worker(
            clock=self.clock,
            target_group=self._group,
            tags=_CountedTags(self.tags, self.elb),
            rate_limiter=CallRateLimiter(self.clock, budget, lambda: self.elb.throttled),
            endpoint=self.endpoint_of,
            reporter=self.reporter,
            key=KEY,
        )

    def _group(self, binding: Binding) -> TargetGroupPort:
        return _CountedGroup(binding.arn, self.groups.get(binding.arn), self.elb)

    def endpoint_of(self, binding: Binding) -> Endpoint:
        return FakeEndpoint(binding, self.dns)

    def run(self, seconds: float = 5_000.0) -> None:
        """Run the containers until the queue is empty.

        Raises:
            AssertionError: It is not empty in this time.
        """
        end, turns = self.clock.now() + seconds, count()
        due = [
            (self.clock.now(), next(turns), self._run_containers()) for _ in range(self._containers)
        ]
        while self.work_queue.queue.waiting:
            at, _, container = heapq.heappop(due)
            assert at <= end, "work items remain"
            self.clock.sleep_until(at)
            heapq.heappush(due, (next(container), next(turns), container))
        for _, _, container in due:
            container.close()

    def _run_containers(self) -> Generator[float, None, None]:
        """Run one container after the other; each ends when it is killed."""
        while True:
            worker = self.worker()
            killed = False
            while not killed:
                messages = self.work_queue.queue.receive(BATCH)
                if messages:
                    killed = yield from self._batch(worker, messages)
                else:
                    yield self.clock.now() + _POLL_SECONDS

    def _batch(self, worker: Worker, messages: Sequence[Message]) -> Generator[float, None, bool]:
        """Handle a batch like the function; return whether the container was killed."""
        self.batches += 1
        batch, ends_at, failed = self.batches, self.clock.now() + FUNCTION_SECONDS, set[str]()
        turns = count()
        due = [
            (self.clock.now(), next(turns), self._in_turn(worker, group, ends_at, failed))
            for group in _by_group(messages)
        ]
        while not self._is_killed(ends_at):
            if not due:
                response = {"batchItemFailures": [{"itemIdentifier": it} for it in failed]}
                received = {it.id for it in messages}
                kept = received if batch in self.undeleted else failed
                self.returns.update(kept)
                self.done |= received - kept
                if batch not in self.undeleted:
                    settle(self.work_queue.queue, messages, response)
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
        self.last_calls += self.elb.operations[-1:]
        self.returns.update(it.id for it in messages)
        return True

    def _is_killed(self, ends_at: float) -> bool:
        self.steps += 1
        return self.steps in self.kills or self.clock.now() > ends_at

    def _in_turn(
        self, worker: Worker, messages: Sequence[Message], ends_at: float, failed: set[str]
    ) -> Generator[float, None, None]:
        """Carry out the work items of one group, one after the other."""
        for message in messages:
            try:
                yield from self._steps(worker, message, ends_at)
            except (TargetSyncError, UnreadableWorkItemError) as error:
                failed.add(message.id)
                self.reporter.report_retry({"message_id": message.id}, error)

    def _steps(
        self, worker: Worker, message: Message, ends_at: float
    ) -> Generator[float, None, None]:
        work_item = read_work_item(message.body)
        assert not (self._exclusive and work_item.arn in self._busy), "two workers on one group"
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
    """An event loop on a virtual clock, which a wait advances.

    Args:
        clock: The clock.
    """

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(_TimelessSelector(clock))
        self._virtual = clock

    def time(self) -> float:
        return self._virtual.now()


class _TimelessSelector(selectors.SelectSelector):
    """Advances the clock instead of waiting."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "no task can continue"
        self._clock.sleep_until(self._clock.now() + timeout)
        return super().select(0)
