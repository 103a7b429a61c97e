"""The rules of the design, stated anew over what a run saw and called.

Nothing here asks the planner: a rule is checked from the run's own descriptions and
observations, as they were handed to it, at the moment of each call that changes the group.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from target_sync.model import (
    FailedObservation,
    Observation,
    Target,
    TargetGroup,
    TargetHealth,
    TargetState,
)
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.planner import Plan
from tests.support.scenario import PORT, VPC_NETWORKS

#: As documented in docs/architecture.md; on purpose not imported.
CONFIRM_SECONDS = 6.0


def may_be_a_target(target: Target) -> bool:
    """Whether the target may be registered at all, in the words of the documentation."""
    address = target.address
    return (
        isinstance(address, IPv4Address)
        and target.port == PORT
        and any(address in network for network in VPC_NETWORKS)
    )


class Referee:
    """Watches one run."""

    def __init__(self, *, dry_run: bool, deadline: float, max_targets: int) -> None:
        self._dry_run = dry_run
        self._deadline = deadline
        self._max_targets = max_targets
        self._observations: list[Observation] = []
        self._group = TargetGroup(())
        self._registered_since: set[Target] = set()

    def described(self, group: TargetGroup) -> None:
        self._group = group
        self._registered_since = set()

    def observed(self, observation: Observation | FailedObservation) -> None:
        if isinstance(observation, Observation):
            self._observations.append(observation)

    def registers(self, targets: Sequence[Target]) -> None:
        """Check a call of RegisterTargets before it is made."""
        newest = self._newest()
        assert len(_asked_for(newest)) <= self._max_targets, "too many addresses"
        for target in targets:
            assert may_be_a_target(target), f"{target} may never be registered"
            assert target not in self._group.registered, f"{target} was registered already"
            named = _names(newest, target)
            assert named or target.address in newest.contested, f"nobody names {target}"
            if target in self._group.draining:
                back = self._confirmed(_names, target)
                assert back, f"{target} was draining and is not back for good"

    def registered(self, targets: Sequence[Target]) -> None:
        """Take note that a registration of this run succeeded."""
        self._registered_since.update(targets)

    def deregisters(self, targets: Sequence[Target]) -> None:
        """Check a call of DeregisterTargets before it is made."""
        newest = self._newest()
        asked_for = _asked_for(newest)
        held = self._group.registered | self._registered_since
        assert asked_for, "removed on the evidence of an empty answer"
        assert all(map(may_be_a_target, asked_for)), "removed on the evidence of a refused answer"
        assert len(asked_for) <= self._max_targets, "too many addresses"
        assert held - set(targets), "nothing would be left registered"
        for target in targets:
            assert target in held, f"{target} was not registered"
            assert isinstance(target.address, IPv4Address), f"{target} is somebody else's"
            assert not _names(newest, target), f"{target} is in the newest answer"
            gone = newest.corroborated or self._confirmed(_does_not_name, target)
            assert gone, f"{target} is not gone for good"

    def _newest(self) -> Observation:
        """The observation on which a change rests."""
        assert not self._dry_run, "a dry run changes nothing"
        newest = self._observations[-1]
        assert newest.at < self._deadline, "decided after the deadline"
        return newest

    def _confirmed(self, holds: Callable[[Observation, Target], bool], target: Target) -> bool:
        """Whether it has held in every observation for as long as the confirm window."""
        newest = self._observations[-1]
        ttls = [o.ttl for o in self._observations if o.ttl is not None]
        since = newest.at
        for observation in reversed(self._observations):
            if not holds(observation, target):
                break
            since = observation.at
        return since + max(CONFIRM_SECONDS, max(ttls, default=0) + 1) <= newest.at


def assert_applied_twice_changes_nothing(run: RunState) -> None:
    """Apply the plan of a run's look to the group as it was seen, and show the run that group."""
    if run.plan is None or run.snapshot is None or not run.plan.has_calls:
        return
    after, _ = run.after_snapshot(
        replace(run.snapshot, group=_applied(run.plan, run.snapshot.group))
    )
    assert after.plan is not None
    assert not after.plan.has_calls, f"applied twice it changes something: {after.plan}"


def _applied(plan: Plan, group: TargetGroup) -> TargetGroup:
    after = {health.target: health for health in group.targets}
    for verdict in plan.to_register:
        after[verdict.target] = TargetHealth(verdict.target, TargetState.INITIAL)
    for verdict in plan.to_deregister:
        after[verdict.target] = TargetHealth(verdict.target, TargetState.DRAINING)
    return TargetGroup(tuple(after.values()))


def _asked_for(observation: Observation) -> set[Target]:
    return {Target(a, PORT) for a in observation.addresses if isinstance(a, IPv4Address)}


def _names(observation: Observation, target: Target) -> bool:
    return target.port == PORT and target.address in observation.addresses


def _does_not_name(observation: Observation, target: Target) -> bool:
    return not _names(observation, target)
