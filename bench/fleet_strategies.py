"""The fleet: the shipped sweeper in one container, with models of AWS and DNS."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from random import Random
from typing import Any

from bench.fleet_world import (
    FACTS_PAGE,
    LIMITS,
    MINUTE,
    NETWORKS,
    PORT,
    REGION,
    SEED,
    Client,
    FleetWorld,
)
from lab.simulation.clock import VirtualClock
from target_sync.fleet.groups import BoundGroups
from target_sync.fleet.model import GroupFacts, Tags
from target_sync.fleet.planner import AUDIT_SECONDS, RunPlanner
from target_sync.fleet.rate_limiter import CallRateLimiter
from target_sync.fleet.rate_limits import DEFAULT_SHARE, Call, CallBudget
from target_sync.fleet.result import FailedSweep, SweepResult
from target_sync.fleet.runs import GroupRuns, RunBug
from target_sync.fleet.sweeper import Sweeper
from target_sync.model import Observation, RunStatus, Target, TargetGroup
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.result import SyncResult
from target_sync.targets.group_settings import GROUP_ATTRIBUTES, HEALTH_CHECK
from target_sync.triggers import Trigger, TriggerKind

#: fleet.yaml: the time-out of the function.
_TIMEOUT = 62.0
_SCHEDULE = Trigger(kind=TriggerKind.SCHEDULE)


class _VirtualFuture(Future[Any]):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self.done_at = 0.0

    def done(self) -> bool:
        return self._clock.now() >= self.done_at


@dataclass(slots=True)
class _VirtualThreads(Executor):
    """Runs each call at once, and shows its result when the time that it took has passed."""

    clock: VirtualClock

    def submit(self, method: Callable[..., Any], /, *args: Any, **names: Any) -> Future[Any]:
        future, began = _VirtualFuture(self.clock), self.clock.moment
        try:
            future.set_result(method(*args, **names))
        except Exception as error:  # noqa: BLE001 - as an executor does
            future.set_exception(error)
        future.done_at, self.clock.moment = self.clock.moment, began
        return future


@dataclass(frozen=True, slots=True)
class _Aws:
    """Implements the ports of the fleet, and its reporters, for one client."""

    world: FleetWorld
    client: Client

    def list_groups(self) -> Mapping[str, Tags]:
        return self.world.listing()

    def describe(self, arns: Collection[str]) -> Mapping[str, GroupFacts]:
        for _ in range(0, len(arns), FACTS_PAGE):
            self.client.call(Call.DESCRIBE, bool, "facts")
        facts = GroupFacts(
            port=PORT, has_ip_targets=True, vpc_networks=NETWORKS, health_check=HEALTH_CHECK
        )
        return dict.fromkeys(arns, facts)

    def attributes(self, arn: str) -> Mapping[str, str]:  # noqa: ARG002
        self.client.call(Call.DESCRIBE, bool, "attributes")
        return GROUP_ATTRIBUTES

    def report_iteration(self, run: RunState) -> None:
        """Nothing."""

    def report(self, result: SyncResult | SweepResult | FailedSweep | RunBug) -> None:
        if isinstance(result, RunBug):
            raise result.error
        if isinstance(result, SyncResult):
            self.world.failed += result.status is RunStatus.FAILED


@dataclass(frozen=True, slots=True)
class _Group:
    """Implements ``target_sync.ports.TargetGroupPort``."""

    aws: _Aws
    arn: str

    def describe(self) -> TargetGroup:
        world = self.aws.world
        group = self.aws.client.call(Call.DESCRIBE, world.groups[self.arn].describe)
        world.verified(world.numbers[self.arn])
        return group

    def register(self, targets: Sequence[Target]) -> None:
        self._change(lambda: self.aws.world.groups[self.arn].register(targets))

    def deregister(self, targets: Sequence[Target]) -> None:
        self._change(lambda: self.aws.world.groups[self.arn].deregister(targets))

    def _change(self, change: Callable[[], None]) -> None:
        self.aws.client.call(Call.REGISTRATION, change)
        self.aws.world.changed(self.arn)


@dataclass(frozen=True, slots=True)
class _Name:
    """Implements ``target_sync.ports.Endpoint``."""

    world: FleetWorld
    name: str

    def observe(self) -> Observation:
        return self.world.observe(self.name)


def make_sweeper(world: FleetWorld, share: float = DEFAULT_SHARE) -> Sweeper:
    """Return the sweeper of a new container."""
    clock = world.clock
    client = Client(world.elb, Random(SEED))  # noqa: S311 - a simulation
    aws = _Aws(world, client)
    budget = CallBudget.of(clock.now(), share)
    threads = _VirtualThreads(clock)
    return Sweeper(
        groups=BoundGroups(groups=aws, limits=LIMITS, region=REGION, clock=clock),
        endpoint=lambda key: _Name(world, key[1]),
        runs=GroupRuns(
            clock=clock,
            target_group=lambda binding: _Group(aws, binding.arn),
            endpoint=lambda binding: _Name(world, binding.endpoint),
            rate_limiter=CallRateLimiter(clock, budget, lambda: client.throttlings),
            reporter=lambda _: aws,
        ),
        planner=RunPlanner(Random(SEED).shuffle),  # noqa: S311 - a simulation
        polling=threads,
        calling=threads,
        clock=clock,
        reporter=aws,
    )


def _verify_all(world: FleetWorld, sweeper: Sweeper) -> None:
    """Give a sweeper the memory of a container that has audited every group in its turn.

    It takes no time and counts no calls.
    """
    planner = sweeper.planner
    planner.update(sweeper.groups.read()[0], 0.0)
    for binding in sorted(planner.bindings, key=lambda binding: world.numbers[binding.arn]):
        number = world.numbers[binding.arn]
        observation = world.observe(binding.endpoint)
        world.verified_at[number] = AUDIT_SECONDS * ((number + 1) / world.size - 1)
        planner.observe(binding.endpoint_key, observation)
        planner.end_run(binding, observation.addresses, world.verified_at[number])
    world.clock.moment = 0.0
    world.calls.clear()


def play_fleet(
    world: FleetWorld, until: float, *, share: float = DEFAULT_SHARE, lost_at: float | None = None
) -> None:
    """Sweep every minute until a time, in a container that has verified every group.

    Args:
        world: The world.
        until: The time.
        share: The fleet's share of the buckets.
        lost_at: From when on the next sweep is in a new container.
    """
    sweeper = make_sweeper(world, share)
    _verify_all(world, sweeper)
    while (due := world.clock.now()) < until:
        if lost_at is not None and due >= lost_at:
            sweeper, lost_at = make_sweeper(world, share), None
        sweeper.run(_SCHEDULE, remaining_seconds=_TIMEOUT)
        world.clock.sleep_until(due + MINUTE)
