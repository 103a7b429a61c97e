"""The rules of the design, checked at each call of a run.

The checks do not use the planner. They use only the descriptions, the observations and the standby
checks that the run received, and keep all of them. They say which changes a run may make, and which
it must make at once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import IPv4Address
from math import inf

from target_sync.model import (
    FailedObservation,
    IPAddress,
    Observation,
    StandbyCheck,
    Target,
    TargetGroup,
    TargetHealth,
    TargetState,
    in_order,
)
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.planner import Plan
from tests.properties.history import History
from tests.support.scenario import PORT, VPC_NETWORKS

#: As docs/contributing/architecture.md documents them. Not imported on purpose.
CONFIRM_SECONDS = 6.0
CONTEST_SECONDS = 30.0
STANDBY_GRACE_SECONDS = 20.0
STALE_SECONDS = 5.0


Targets = frozenset[Target]
_DEAD = (TargetState.UNHEALTHY, TargetState.UNHEALTHY_DRAINING)


def is_allowed(target: Target) -> bool:
    """Whether a target may be registered, according to the documentation."""
    address = target.address
    return (
        isinstance(address, IPv4Address)
        and target.port == PORT
        and any(address in network for network in VPC_NETWORKS)
    )


@dataclass(frozen=True, slots=True)
class View:
    """What a run knew about the group at one moment: after a description, or its own change.

    Attributes:
        at: When the observation after the description was made.
        two_servers: The undesired targets that were healthy while no desired one was dead.
        outdated: The registered targets beside which a newer one was missing.
    """

    at: float
    registered: Targets
    draining: Targets = frozenset()
    healthy: Targets = frozenset()
    two_servers: Targets = frozenset()
    outdated: Targets = frozenset()


class RuleChecker:
    """Checks the changes of one run."""

    def __init__(self, history: History, *, dry_run: bool, deadline: float) -> None:
        self._history = history
        self._dry_run = dry_run
        self.deadline = deadline
        self.observations: list[Observation] = []
        self.views: list[View] = []
        self._check: StandbyCheck | None = None
        self._owed: tuple[Targets, Targets] | None = frozenset(), frozenset()

    # What the run does

    def on_snapshot(self, group: TargetGroup, observation: Observation | FailedObservation) -> None:
        self._check = None
        if isinstance(observation, FailedObservation):
            seen = self.views[-1] if self.views else View(0.0, frozenset())
            view = View(observation.at, group.registered, group.draining, group.healthy)
            self.views.append(replace(view, two_servers=seen.two_servers))
            self.on_failure()
            return
        self.observations.append(observation)
        view = View(observation.at, group.registered, group.draining, group.healthy)
        self.views.append(view)
        desired, undesired = self.desired, _ipv4(group.registered) - self.desired
        states = {health.target: health.state for health in group.targets}
        new = {t for t in self._named if is_allowed(t) and self._is_new(t)}
        outdated = undesired if new & desired else frozenset()
        outdated |= view.registered & desired if new - desired else frozenset()
        outdated |= {t for t in undesired if new and not _is_contested(observation, t)}
        is_dead = any(states.get(target) in _DEAD for target in desired)
        self.views[-1] = replace(
            view,
            two_servers=frozenset() if is_dead else undesired & group.healthy,
            outdated=outdated,
        )
        self._owed = None

    def on_poll(self, observation: Observation) -> None:
        self.observations.append(observation)
        self._owed = frozenset(), frozenset()

    def on_standby_check(self, addresses: Iterable[object], check: StandbyCheck) -> None:
        undesired = {t.address for t in self.views[-1].registered - self.desired}
        assert undesired.issuperset(addresses), "checks a desired target"
        self._check = check

    def on_failure(self) -> None:
        """After a failed call a run takes a snapshot before any change."""
        self._owed = frozenset(), frozenset()

    def check_registration(self, targets: Sequence[Target], now: float) -> None:
        """Check a call of RegisterTargets before it is made."""
        to_register, to_remove = self.owed
        self._check_time(now)
        assert all(map(is_allowed, targets)), "not allowed"
        assert set(targets) == to_register, f"registers {targets} and not {to_register}"
        self._owed = frozenset(), to_remove

    def check_deregistration(self, targets: Sequence[Target], now: float) -> None:
        """Check a call of DeregisterTargets before it is made."""
        to_register, to_remove = self.owed
        self._check_time(now)
        assert not to_register, "deregisters first"
        assert self.views[-1].registered - set(targets), "no target would stay registered"
        assert self.desired.isdisjoint(targets), "deregisters a desired target"
        assert set(targets) == to_remove, f"deregisters {targets} and not {to_remove}"
        self._owed = frozenset(), frozenset()

    def on_change(self, added: Iterable[Target] = (), removed: Iterable[Target] = ()) -> None:
        """Remember a change that succeeded."""
        last = self.views[-1]
        registered = (last.registered | {*added}) - {*removed}
        self.views.append(replace(last, at=self.newest.at, registered=registered))

    def check_known(self, registered: Targets) -> None:
        """Check which targets a run believes to be registered."""
        views = self.views or [View(0.0, frozenset())]
        assert registered == _ipv4(views[-1].registered), "believes other targets registered"

    def is_stale(self, now: float) -> bool:
        """Whether a plan is too old by now."""
        return now > self.newest.at + STALE_SECONDS

    def _check_time(self, now: float) -> None:
        assert not self._dry_run, "a dry run changes nothing"
        assert self.newest.at < self.deadline, "decided after the deadline"
        assert not self.is_stale(now), "the plan is stale"

    # What the rules say

    @property
    def newest(self) -> Observation:
        return self.observations[-1]

    @property
    def desired(self) -> Targets:
        return _targets_at(self.newest.addresses)

    @property
    def is_vetoed(self) -> bool:
        """Whether the newest observation or the last snapshot allows no removal."""
        to_remove = {t for t, due in self._removals().items() if due <= self.newest.at}
        return self._allows_no_removal or (
            bool(to_remove) and not (self.views[-1].registered - to_remove) | self._to_register
        )

    @property
    def owed(self) -> tuple[Targets, Targets]:
        """The targets to register, and to deregister, before the next observation."""
        if self._owed is None:
            due = self._removals()
            to_remove = frozenset(t for t, at in due.items() if at <= self.newest.at)
            self._owed = self._to_register, frozenset() if self.is_vetoed else to_remove
        return self._owed

    @property
    def due_at(self) -> float:
        """When the first change on hold is confirmed; infinity if none waits."""
        due = [] if self.is_too_many else [*self._returns().values()]
        due += [] if self.is_vetoed else [*self._removals().values()]
        return min((at for at in due if at > self.newest.at), default=inf)

    @property
    def is_too_many(self) -> bool:
        return len(self.desired) > self._history.max_targets

    @property
    def _allows_no_removal(self) -> bool:
        desired = self.desired
        return not desired or self.is_too_many or not all(map(is_allowed, desired))

    @property
    def _to_register(self) -> Targets:
        if self.is_too_many:
            return frozenset()
        new = {t for t in self._named if self._is_new(t)}
        back = {t for t, at in self._returns().items() if at <= self.newest.at}
        return frozenset(filter(is_allowed, new | back))

    @property
    def _named(self) -> Targets:
        return self.desired | _ipv4(Target(a, PORT) for a in self.newest.contested)

    def _is_new(self, target: Target) -> bool:
        """Whether a target that a source names was never there, as far as this run knows."""
        earlier = (o.second for o in self.observations if o.second is not None)
        is_announced = any(target.address not in second for second in earlier)
        return not self._was_in_group(target) and (target in self.desired or is_announced)

    def _returns(self) -> Mapping[Target, float]:
        """Return when each desired target that left the group may return."""
        return {
            t: max(self._since(t), self._left_at(t)) + self.window
            for t in self.desired - self.views[-1].registered
            if self._was_in_group(t) and is_allowed(t)
        }

    def _removals(self) -> Mapping[Target, float]:
        """Return when each undesired target is to be removed; infinity if it stays."""
        candidates = self._standby_candidates
        return {
            t: self._due_as_standby(t) if t in candidates else self._due_as_undesired(t)
            for t in self._undesired
        }

    @property
    def _undesired(self) -> Targets:
        return _ipv4(self.views[-1].registered) - self.desired

    @property
    def _standby_candidates(self) -> Targets:
        if not self._history.serving_standby or self._check is None:
            return frozenset()
        room = max(0, self._history.max_targets - len(self.desired))
        candidates = in_order(filter(is_allowed, self._undesired))[:room]
        return frozenset(
            t for t in candidates if self._check.failure or t.address in self._check.confirmed
        )

    @property
    def has_failed_check(self) -> bool:
        """Whether a target stays because a standby check failed."""
        return bool(self._check and self._check.failure and self._standby_candidates)

    def _due_as_standby(self, target: Target) -> float:
        if self.has_failed_check or target not in self.views[-1].two_servers:
            return inf
        since = _unbroken(self.views, lambda view: target in view.two_servers)
        return max(since + STANDBY_GRACE_SECONDS, self._removal_due(target))

    def _due_as_undesired(self, target: Target) -> float:
        is_outdated = any(target in view.outdated for view in self.views)
        return -inf if self.newest.corroborated and is_outdated else self._removal_due(target)

    def _removal_due(self, target: Target) -> float:
        since = self._since(target)
        if target in self.views[-1].registered:
            since = max(since, _unbroken(self.views, lambda view: target in view.registered))
        if not _is_contested(self.newest, target):
            return since + self.window
        outdated = [view.at for view in self.views if target in view.outdated]
        if outdated:
            return max(since, outdated[0]) + self.window
        was_desired = any(_names(o, target) for o in self.observations)
        return since + (self.window if was_desired else max(self.window, CONTEST_SECONDS))

    @property
    def window(self) -> float:
        return max(CONFIRM_SECONDS, 1 + max(o.ttl or 0 for o in self.observations))

    def _since(self, target: Target) -> float:
        """Return since when every observation has named the target as the newest one does."""

        def naming(observation: Observation) -> tuple[bool, bool]:
            return _names(observation, target), _is_contested(observation, target)

        newest = naming(self.newest)
        return _unbroken(self.observations, lambda observation: naming(observation) == newest)

    def _was_in_group(self, target: Target) -> bool:
        return any(target in view.registered | view.draining for view in self.views)

    def _left_at(self, target: Target) -> float:
        if not any(target in view.registered for view in self.views):
            return -inf
        return _unbroken(self.views, lambda view: target not in view.registered)


def _unbroken(seen: Sequence[Observation | View], holds: Callable[..., bool]) -> float:
    """Return since when a condition has held. It must hold at the end."""
    since = seen[-1].at
    for one in reversed(seen):
        if not holds(one):
            break
        since = one.at
    return since


def assert_applied_twice_changes_nothing(run: RunState) -> None:
    """Apply a run's plan to its snapshot, and check that the next plan has no calls."""
    if run.plan is None or run.snapshot is None or not run.plan.has_calls:
        return
    after, _ = run.after_snapshot(
        replace(run.snapshot, group=_applied(run.plan, run.snapshot.group))
    )
    assert after.plan is not None
    assert not after.plan.has_calls, f"applied twice it changes something: {after.plan}"


def _applied(plan: Plan, group: TargetGroup) -> TargetGroup:
    after = {health.target: health for health in group.targets}
    for change in plan.to_register:
        after[change.target] = TargetHealth(change.target, TargetState.INITIAL)
    for change in plan.to_deregister:
        after[change.target] = TargetHealth(change.target, TargetState.DRAINING)
    return TargetGroup(tuple(after.values()))


@cache
def _targets_at(addresses: frozenset[IPAddress]) -> Targets:
    return _ipv4(Target(address, PORT) for address in addresses)


def _ipv4(targets: Iterable[Target]) -> Targets:
    return frozenset(t for t in targets if isinstance(t.address, IPv4Address))


def _names(observation: Observation, target: Target) -> bool:
    return target.port == PORT and target.address in observation.addresses


def _is_contested(observation: Observation, target: Target) -> bool:
    return target.port == PORT and target.address in observation.contested
