"""The outbound rules of a history, and the checks of its warm pool."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from target_sync.model import (
    CandidateList,
    IPAddress,
    OutboundRules,
    SwitchState,
    SyncPolicy,
    Target,
    TargetGroup,
)
from target_sync.targets.pool_planner import SwitchView
from target_sync.targets.switched_group import SwitchedTargetGroup
from target_sync.targets.warm_pool import PoolReport, WarmPool
from tests.properties.history import FaultKind, Switch

if TYPE_CHECKING:
    from tests.properties.world import Run, World


@dataclass(eq=False)
class Container:
    """What a function's container remembers from run to run."""

    view: SwitchView = field(default_factory=SwitchView)
    is_busy: bool = False


def room(switch: Switch, state: SwitchState, serving: frozenset[Target], max_targets: int) -> int:
    """Return how many targets may be warm, according to the documentation."""
    most = {SwitchState.PROVEN: switch.warm_targets, SwitchState.INEFFECTIVE: 0}
    bound = most.get(state, min(1, switch.warm_targets))
    return max(0, min(bound, max_targets - len(serving)))


@dataclass(frozen=True, slots=True)
class FaultyGroup:
    """Implements ``target_sync.ports.TargetGroupPort`` with the faults of a run."""

    run: "Run"
    world: "World"

    def describe(self) -> TargetGroup:
        self.run.fail_before("DescribeTargetHealth")
        return self.world.group.describe()

    def register(self, targets: Sequence[Target]) -> None:
        self.run.change("RegisterTargets", self.world.group.register, targets)

    def deregister(self, targets: Sequence[Target]) -> None:
        self.run.change("DeregisterTargets", self.world.group.deregister, targets)


@dataclass(frozen=True, slots=True)
class FaultyRules:
    """Implements ``target_sync.ports.OutboundRulesPort`` with the faults of a run."""

    run: "Run"
    world: "World"

    def describe(self) -> OutboundRules:
        self.run.fail_before("DescribeSecurityGroupRules")
        return self.world.rules.describe()

    def open(self, targets: Sequence[Target]) -> None:
        self.run.change("AuthorizeSecurityGroupEgress", self.world.rules.open, targets)

    def close(self, targets: Sequence[Target]) -> None:
        self.run.change("RevokeSecurityGroupEgress", self.world.rules.close, targets)

    def mark(self, state: SwitchState) -> None:
        self.run.change("mark", lambda _: self.world.rules.mark(state), ())


@dataclass(frozen=True, slots=True)
class ListedCandidates:
    """Implements ``target_sync.ports.Candidates`` with the faults of a run."""

    run: "Run"
    world: "World"
    switch: Switch

    def addresses(self, serving: frozenset[IPAddress]) -> CandidateList:
        assert self.switch.candidates is not None
        at = min(self.world.now, self.world.history.faults_end_at)
        listed = self.switch.candidates.at(at).confirmed
        if listed is None or self.run.next_fault() not in (None, FaultKind.SLOW):
            return CandidateList(failure="DescribeNetworkInterfaces failed")
        return CandidateList(addresses=tuple(sorted(listed - serving, key=int)))


class CheckedPool:
    """The warm pool of a run, with the rules of the design checked at each refresh."""

    def __init__(self, run: "Run", world: "World", switch: Switch, policy: SyncPolicy) -> None:
        self._run, self._world, self._switch, self._policy = run, world, switch, policy
        self.container = next((c for c in world.containers if not c.is_busy), None) or Container()
        self.container.is_busy = True
        self.switched = SwitchedTargetGroup(
            group=FaultyGroup(run, world),
            rules=FaultyRules(run, world),
            policy=policy,
            now=run.now,
            view=self.container.view,
        )
        has_list = switch.candidates is not None
        self._pool = WarmPool(
            switched=self.switched,
            candidates=ListedCandidates(run, world, switch) if has_list else None,
            policy=policy,
            now=run.now,
        )

    @property
    def state(self) -> SwitchState | None:
        return self._pool.state

    def refresh(self, desired: frozenset[Target]) -> PoolReport | None:
        world, before = self._world, self._world.serving
        seen = self.switched.view.rules.open
        is_current = world.changes == self._run.changes_described
        self._run.waits.before_refresh()
        report = self._pool.refresh(desired)
        opened_since = world.rules.opened - seen
        assert before <= world.serving, "the pool changed a serving target"
        assert world.serving - before <= opened_since, (
            "the pool let the load balancer reach a target"
        )
        if report is None:
            return None
        world.log(self._run.name, ("refreshes", report.state, *report.failures))
        self._run.waits.after_refresh(report.due_at)
        if is_current and not report.failures:
            most = room(self._switch, report.state, world.serving, self._policy.max_targets)
            assert len(world.warm - desired) <= most, "too many warm targets"
        return report

    def release(self, *, keep: bool) -> None:
        """End the run. A container that was killed is not used again."""
        self.container.view, self.container.is_busy = self.switched.view, False
        containers = [c for c in self._world.containers if c is not self.container]
        self._world.containers = [*containers, self.container] if keep else containers
