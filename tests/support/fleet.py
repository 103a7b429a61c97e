"""A fleet of fakes on one virtual clock: tagged target groups, names, and containers that sweep."""

import heapq
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import count
from random import Random
from typing import Any, TypeVar

from target_sync.errors import (
    AwsAccessDeniedError,
    AwsCallError,
    AwsNotFoundError,
    AwsUnavailableError,
)
from target_sync.fleet.groups import BoundGroups
from target_sync.fleet.model import (
    ENDPOINT_TAG,
    KIND_TAG,
    Binding,
    EndpointKey,
    GroupFacts,
    Tags,
)
from target_sync.fleet.planner import PlannedRun, RunPlanner
from target_sync.fleet.rate_limiter import CallRateLimiter
from target_sync.fleet.rate_limits import CallBudget
from target_sync.fleet.result import FailedSweep, SweepResult
from target_sync.fleet.runs import GroupRuns, RunBug
from target_sync.fleet.sweeper import Sweeper
from target_sync.model import (
    DatabaseKind,
    FailedObservation,
    Observation,
    Target,
    TargetGroup,
)
from target_sync.ports import Endpoint, NameResolver, TargetGroupPort
from target_sync.reconcile.reconciler import RunReporter
from target_sync.reconcile.result import SyncResult
from target_sync.targets.group_settings import GROUP_ATTRIBUTES
from target_sync.triggers import Trigger, TriggerKind
from tests.support.clock import FakeClock
from tests.support.databases import FakeDns
from tests.support.scenario import FakeReporter, FakeTargetGroup, target
from tests.unit.fleet.builders import FACTS, LIMITS, arn, name

REGION = "eu-west-1"
SCHEDULED = Trigger(kind=TriggerKind.SCHEDULE)
DRY = Trigger(kind=TriggerKind.MANUAL, dry_run=True)
#: The function's time-out and the interval of the schedule (fleet.yaml).
TIMEOUT = MINUTE = 60.0

_T = TypeVar("_T")


class Faults:
    """The errors that the next calls raise, one after another."""

    def __init__(self) -> None:
        self._planned: list[Exception] = []

    def plan(self, error: Exception, times: int = 1) -> None:
        self._planned += [error] * times

    def raise_next(self) -> None:
        if self._planned:
            raise self._planned.pop(0)


class FakeGroups:
    """Target groups and their tags. Implements ``GroupsPort``.

    Attributes:
        facts: The facts of all existing groups.
        listings: The number of listings.
        listing_faults: Faults of the listing.
        described: The groups of each description.
        description_faults: Faults of the description.
        given: The attributes of groups that have not a stack's.
        attribute_calls: The group of each call for attributes.
        attribute_faults: Faults of these calls.
    """

    def __init__(self) -> None:
        self._tags: dict[str, dict[str, str]] = {}
        self.facts: dict[str, GroupFacts] = {}
        self.listings = 0
        self.listing_faults = Faults()
        self.described: list[frozenset[str]] = []
        self.description_faults = Faults()
        self.given: dict[str, Mapping[str, str]] = {}
        self.attribute_calls: list[str] = []
        self.attribute_faults = Faults()

    def put(self, arn: str, tags: Mapping[str, str]) -> None:
        """Add a group with exactly these tags."""
        self._tags[arn] = dict(tags)

    def delete(self, arn: str) -> None:
        del self._tags[arn]

    def tag(self, arn: str, key: str, value: str) -> None:
        self._tags[arn][key] = value

    def untag(self, arn: str, key: str) -> None:
        del self._tags[arn][key]

    def list_groups(self) -> Mapping[str, Tags]:
        self.listings += 1
        self.listing_faults.raise_next()
        return {arn: dict(tags) for arn, tags in self._tags.items() if ENDPOINT_TAG in tags}

    def describe(self, arns: Collection[str]) -> Mapping[str, GroupFacts]:
        self.described.append(frozenset(arns))
        self.description_faults.raise_next()
        return {arn: self.facts[arn] for arn in arns if arn in self.facts}

    def attributes(self, arn: str) -> Mapping[str, str]:
        self.attribute_calls.append(arn)
        self.attribute_faults.raise_next()
        return self.given.get(arn, GROUP_ATTRIBUTES)


class Hang(Exception):  # noqa: N818 - not an error
    """A call that never returns."""


class Killed(BaseException):
    """The end of a container at this point."""


class InlineExecutor(Executor):
    """Carries out each call at once, in the thread of the test."""

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        future = Future[_T]()
        try:
            future.set_result(fn(*args, **kwargs))
        except Hang:
            pass
        except Exception as error:  # noqa: BLE001 - the caller of the future gets it
            future.set_exception(error)
        return future


class Fault(StrEnum):
    """The failures of a call to ELB."""

    THROTTLED = "throttled"
    TIMED_OUT = "timed_out"
    #: The change was made, but the reply was lost.
    REPLY_LOST = "reply_lost"
    DENIED = "denied"
    DELETED = "deleted"
    #: Lambda ends the container before the call.
    KILLED = "killed"
    #: Lambda ends the container after the call.
    KILLED_AFTER = "killed_after"
    HANGS = "hangs"


@dataclass
class ElbCalls:
    """Records every call about targets, and fails some of them.

    Attributes:
        faults: The faults by the number of the call, from 0.
        calls: The operation and the group of each call, in sequence.
        moments: The time of each call.
    """

    clock: FakeClock
    faults: dict[int, Fault] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)

    def call(self, operation: str, arn: str, method: Callable[[], _T]) -> _T:
        fault = self.faults.get(len(self.calls))
        self.calls.append((operation, arn))
        self.moments.append(self.clock.now())
        errors: Mapping[Fault | None, BaseException] = {
            Fault.THROTTLED: AwsUnavailableError(operation, "Throttling", "Rate exceeded"),
            Fault.TIMED_OUT: AwsUnavailableError(operation, "ReadTimeoutError", "no reply"),
            Fault.DENIED: AwsAccessDeniedError(operation, "AccessDenied", "not authorized"),
            Fault.DELETED: AwsNotFoundError(operation, "TargetGroupNotFound", arn),
            Fault.KILLED: Killed(),
            Fault.HANGS: Hang(),
        }
        if fault in errors:
            raise errors[fault]
        result = method()
        if fault is Fault.REPLY_LOST:
            raise AwsUnavailableError(operation, "ConnectionClosedError", "no reply")
        if fault is Fault.KILLED_AFTER:
            raise Killed
        return result

    def operations(self, arn: str) -> list[str]:
        """Return the operations on a group, in sequence."""
        return [operation for operation, of in self.calls if of == arn]


@dataclass(frozen=True, slots=True)
class _CountedGroup:
    """Implements ``target_sync.ports.TargetGroupPort``."""

    arn: str
    groups: Mapping[str, FakeTargetGroup]
    elb: ElbCalls

    def describe(self) -> TargetGroup:
        return self.elb.call("DescribeTargetHealth", self.arn, lambda: self._found().describe())

    def register(self, targets: Sequence[Target]) -> None:
        self.elb.call("RegisterTargets", self.arn, lambda: self._found().register(targets))

    def deregister(self, targets: Sequence[Target]) -> None:
        self.elb.call("DeregisterTargets", self.arn, lambda: self._found().deregister(targets))

    def _found(self) -> FakeTargetGroup:
        if self.arn not in self.groups:
            raise AwsNotFoundError("a call", "TargetGroupNotFound", self.arn)
        return self.groups[self.arn]


@dataclass(frozen=True, slots=True)
class FakeEndpoint:
    """Implements ``target_sync.ports.Endpoint``: by DNS; a cluster has two sources.

    ``faults`` has the error that the look-up of a name raises.
    """

    key: EndpointKey
    resolver: NameResolver
    faults: Mapping[str, Exception]

    def observe(self) -> Observation | FailedObservation:
        kind, looked_up = self.key
        if looked_up in self.faults:
            raise self.faults[looked_up]
        observation = self.resolver.resolve(looked_up)
        if isinstance(observation, FailedObservation) or not kind.is_cluster:
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
class FakeFleetReporter:
    """The reporter of sweeps and of their runs, which keeps its calls."""

    sweeps: list[SweepResult] = field(default_factory=list)
    failed_sweeps: list[FailedSweep] = field(default_factory=list)
    runs: list[tuple[PlannedRun, SyncResult]] = field(default_factory=list)
    bugs: list[RunBug] = field(default_factory=list)

    def report(self, result: SweepResult | FailedSweep | RunBug) -> None:
        if isinstance(result, RunBug):
            self.bugs.append(result)
        elif isinstance(result, FailedSweep):
            self.failed_sweeps.append(result)
        else:
            self.sweeps.append(result)

    def for_run(self, planned: PlannedRun) -> RunReporter:
        return _RunReporter(planned, self)

    def statuses(self, arn: str) -> list[str]:
        """Return the statuses of a group's runs, in sequence."""
        return [it.status.value for planned, it in self.runs if planned.binding.arn == arn]


class _RunReporter(FakeReporter):
    def __init__(self, planned: PlannedRun, reporter: FakeFleetReporter) -> None:
        super().__init__()
        self._planned, self._reporter = planned, reporter

    def report(self, result: SyncResult) -> None:
        self._reporter.runs.append((self._planned, result))


class _Clock(FakeClock):
    """Checks the health of targets every five seconds, as AWS does, and not at every wait."""

    def __init__(self) -> None:
        super().__init__()
        self._checks: list[Callable[[], None]] = []
        self._check_at = self.now()
        super().every_tick(self._check)

    def every_tick(self, action: Callable[[], None]) -> None:
        self._checks.append(action)

    def _check(self) -> None:
        if self.now() >= self._check_at:
            self._check_at = self.now() + 5.0
            for check in self._checks:
                check()


class Fleet:
    """Tagged groups, their databases, and containers that sweep.

    Attributes:
        lookups: The names whose look-up raises, and what.
        kills: The steps, counted from 1, at which Lambda kills the running container.
        steps: The number of steps of all containers.
        killed: The number of killed containers.
        failures: The errors of failed sweeps.
    """

    def __init__(self) -> None:
        self.clock = _Clock()
        self.tagged = FakeGroups()
        self.dns = FakeDns(self.clock)
        self.elb = ElbCalls(self.clock)
        self.reporter = FakeFleetReporter()
        self.groups: dict[str, FakeTargetGroup] = {}
        self.lookups: dict[str, Exception] = {}
        self.kills: set[int] = set()
        self.steps = self.killed = 0
        self.failures: list[Exception] = []
        self.sweeper = self.new_sweeper()

    def add(
        self,
        number: int,
        *registered: object,
        resolves_to: object = None,
        kind: DatabaseKind = DatabaseKind.RDS_INSTANCE,
        facts: GroupFacts = FACTS,
    ) -> str:
        """Add a group with these targets; return its ARN."""
        group = FakeTargetGroup(self.clock)
        group.register_externally(*(target(address) for address in registered))
        endpoint = self.name(number, kind)
        self.groups[arn(number)], self.tagged.facts[arn(number)] = group, facts
        self.tagged.put(arn(number), {ENDPOINT_TAG: endpoint, KIND_TAG: kind.value})
        if resolves_to is not None:
            self.dns.set_addresses(endpoint, resolves_to)
        return arn(number)

    def name(self, number: int, kind: DatabaseKind = DatabaseKind.RDS_INSTANCE) -> str:
        """Return the name of a group's database."""
        infix = {
            DatabaseKind.RDS_CLUSTER_WRITER: "cluster-",
            DatabaseKind.RDS_CLUSTER_READERS: "cluster-ro-",
        }.get(kind, "")
        return name(number).replace(".", f".{infix}", 1)

    def delete(self, arn: str) -> None:
        """Delete a group, which the tagging API still lists."""
        del self.groups[arn], self.tagged.facts[arn]

    def registered(self, arn: str) -> set[str]:
        """Return the addresses of the registered targets."""
        return {str(it.address) for it in self.groups[arn].snapshot().registered}

    def new_sweeper(self, share: float = 0.5) -> Sweeper:
        """Return the sweeper of a new container."""
        budget = CallBudget.of(self.clock.now(), share)
        throttled = lambda: sum(  # noqa: E731 - short
            self.elb.faults.get(call) is Fault.THROTTLED for call in range(len(self.elb.calls))
        )
        return Sweeper(
            groups=BoundGroups(groups=self.tagged, limits=LIMITS, region=REGION, clock=self.clock),
            endpoint=self._endpoint,
            runs=GroupRuns(
                clock=self.clock,
                target_group=self._group,
                endpoint=lambda binding: self._endpoint(binding.endpoint_key),
                rate_limiter=CallRateLimiter(self.clock, budget, throttled),
                reporter=self.reporter.for_run,
            ),
            planner=RunPlanner(Random(1).shuffle),  # noqa: S311 - a sequence
            polling=InlineExecutor(),
            calling=InlineExecutor(),
            clock=self.clock,
            reporter=self.reporter,
        )

    def sweep(self, trigger: Trigger = SCHEDULED) -> SweepResult:
        """Sweep once in the container, and wait for the next minute."""
        began = self.clock.now()
        try:
            return self.sweeper.run(trigger, remaining_seconds=TIMEOUT)
        finally:
            self.clock.sleep_until(began + MINUTE)

    def play(self, minutes: int, *, containers: int = 1) -> None:
        """Sweep every minute in this many containers, whose minutes begin at different times."""
        ends_at, numbers = self.clock.now() + minutes * MINUTE, count()
        due = list[tuple[float, int, Generator[float, None, None]]]()
        for it in range(containers):
            container = self._sweep_on(self.clock.now() + MINUTE * it / containers)
            heapq.heappush(due, (next(container), next(numbers), container))
        while due[0][0] < ends_at:
            at, _, container = heapq.heappop(due)
            self.clock.sleep_until(at)
            self.steps += 1
            at = container.throw(Killed()) if self.steps in self.kills else next(container)
            heapq.heappush(due, (at, next(numbers), container))
        self.clock.sleep_until(ends_at)

    def _sweep_on(self, at: float) -> Generator[float, None, None]:
        """Sweep every minute from then on; a killed container is followed by a new one."""
        sweeper = self.new_sweeper()
        while True:
            try:
                yield at
                began = self.clock.now()
                try:
                    yield from sweeper.run_in_steps(SCHEDULED, remaining_seconds=TIMEOUT)
                except AwsCallError as error:
                    self.failures.append(error)
                at = began + MINUTE
            except Killed:
                self.killed += 1
                sweeper, at = self.new_sweeper(), self.clock.now()

    def _endpoint(self, key: EndpointKey) -> Endpoint:
        return FakeEndpoint(key, self.dns, self.lookups)

    def _group(self, binding: Binding) -> TargetGroupPort:
        return _CountedGroup(binding.arn, self.groups, self.elb)


def at(fleet: Fleet, seconds: float, action: Callable[..., None], *args: object) -> None:
    """Do something after these seconds."""
    fleet.clock.at(fleet.clock.now() + seconds, partial(action, *args))
