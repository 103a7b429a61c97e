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
from target_sync.reconcile.planner import Plan, Reason
from tests.properties.history import History
from tests.support.scenario import PORT, VPC_NETWORKS

#: As docs/contributing/architecture.md documents them. Not imported on purpose.
CONFIRM_SECONDS = 6.0
CONTEST_SECONDS = 30.0
STANDBY_GRACE_SECONDS = 20.0
STALE_SECONDS = 5.0
LONGEST_TTL_SECONDS = 300
MOST_REQUESTS = 3

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
        #: Whether the run last registered a target, how often in a row, and when.
        self._requests: dict[Target, tuple[bool, int, float]] = {}

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
        for registers, targets in ((True, added), (False, removed)):
            for target in targets:
                before, count, _ = self._requests.get(target, (None, 0, -inf))
                count = count + 1 if before is registers else 1
                self._requests[target] = registers, count, self.newest.at
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
        return self._allows_no_removal or (
            bool(self._to_remove) and not self._lists_a_desired_target and not self._brings_a_target
        )

    @property
    def owed(self) -> tuple[Targets, Targets]:
        """The targets to register, and to deregister, before the next observation."""
        if self._owed is None:
            may_remove = not self.is_vetoed and self._lists_a_desired_target
            self._owed = self._to_register, self._to_remove if may_remove else frozenset()
        return self._owed

    @property
    def due_at(self) -> float:
        """When the first change on hold is confirmed; infinity if none waits."""
        now, vetoed = self.newest.at, self.is_vetoed
        if not vetoed and self._to_remove and not self._lists_a_desired_target:
            return now
        due = [] if self.is_too_many else [*self._registrations().values()]
        due += [] if vetoed else [*self._removals().values()]
        return min((at for at in due if at > now), default=inf)

    @property
    def has_no_effect(self) -> bool:
        """Whether a change is not repeated any more in this run."""
        requests = ((self._registrations(), True), (self._removals(), False))
        return any(
            at == inf and self._requests.get(t, (None,))[:2] == (registers, MOST_REQUESTS)
            for due, registers in requests
            for t, at in due.items()
        )

    @property
    def _to_remove(self) -> Targets:
        return frozenset(t for t, at in self._removals().items() if at <= self.newest.at)

    @property
    def _lists_a_desired_target(self) -> bool:
        return bool(self.views[-1].registered & self.desired)

    @property
    def _brings_a_target(self) -> bool:
        """Whether a target is to be registered, or this run did so and it may still appear."""
        mine = {t for t, (registers, *_) in self._requests.items() if registers}
        return bool(self._to_register) or any(
            self.newest.at < at < inf and t in mine for t, at in self._registrations().items()
        )

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
        return frozenset(t for t, at in self._registrations().items() if at <= self.newest.at)

    @property
    def _named(self) -> Targets:
        return self.desired | _ipv4(Target(a, PORT) for a in self.newest.contested)

    def _is_new(self, target: Target) -> bool:
        """Whether a target that a source names was never there, as far as this run knows."""
        earlier = (o.second for o in self.observations if o.second is not None)
        is_announced = any(target.address not in second for second in earlier)
        return not self._was_in_group(target) and (target in self.desired or is_announced)

    def _registrations(self) -> Mapping[Target, float]:
        """Return when each target is to be registered: at once, or when it may return."""
        new = {t: self.newest.at for t in self._named if self._is_new(t)}
        back = {
            t: max(self._since(t), self._left_at(t)) + self.window_of(t)
            for t in self.desired - self.views[-1].registered
            if self._was_in_group(t)
        }
        due = {t: at for t, at in {**new, **back}.items() if is_allowed(t)}
        return {t: self._unless_repeated(t, at, registers=True) for t, at in due.items()}

    def _removals(self) -> Mapping[Target, float]:
        """Return when each undesired target is to be removed; infinity if it stays."""
        candidates = self._standby_candidates
        due = {
            t: self._due_as_standby(t) if t in candidates else self._due_as_undesired(t)
            for t in self._undesired
        }
        return {t: self._unless_repeated(t, at, registers=False) for t, at in due.items()}

    def _unless_repeated(self, target: Target, due: float, *, registers: bool) -> float:
        """Return when a change is due, unless this run requested the same one a moment ago."""
        before, count, at = self._requests.get(target, (None, 0, -inf))
        if due > self.newest.at or before is not registers:
            return due
        again = inf if count == MOST_REQUESTS else at + CONFIRM_SECONDS * 2 ** (count - 1)
        return again if again > self.newest.at else due

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
        window = self.window_of(target)
        if not _is_contested(self.newest, target):
            return since + window
        outdated = [view.at for view in self.views if target in view.outdated]
        if outdated:
            return max(since, outdated[0]) + window
        was_desired = any(_names(o, target) for o in self.observations)
        return since + (window if was_desired else max(window, CONTEST_SECONDS))

    def window_of(self, target: Target) -> float:
        """Return the confirm window: longer than the TTL of each record that may have changed."""
        since, ttls = self._since(target), [o.ttl or 0 for o in self.observations]
        for alias in self.newest.aliases:
            refers = _refers(alias.name, alias.target)
            alias_since = _unbroken(self.observations, refers)
            if alias_since >= since:
                then = (o for o in self.observations if o.at >= alias_since)
                ttls += [a.ttl for o in then for a in o.aliases if a.name == alias.name]
        return max(CONFIRM_SECONDS, 1 + min(max(ttls), LONGEST_TTL_SECONDS))

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
    waiting = {c.target for c in run.plan.changes if c.reason is Reason.SUCCESSOR_UNSEEN}
    assert not after.plan.to_register, f"applied twice it registers something: {after.plan}"
    removed = {c.target for c in after.plan.to_deregister}
    assert removed <= waiting, f"applied twice it removes something: {after.plan}"


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


def _refers(name: str, to: str) -> Callable[[Observation], bool]:
    """Return whether an observation has this alias with this target."""
    return lambda observation: any(a.name == name and a.target == to for a in observation.aliases)


def _is_contested(observation: Observation, target: Target) -> bool:
    return target.port == PORT and target.address in observation.contested
