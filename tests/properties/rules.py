"""The rules of the design, checked at each call that changes the group.

The checks do not use the planner. They only use the descriptions and observations that the run
received.
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

#: As docs/contributing/architecture.md documents it. Not imported on purpose.
CONFIRM_SECONDS = 6.0


def is_allowed(target: Target) -> bool:
    """Whether a target may be registered, according to the documentation."""
    address = target.address
    return (
        isinstance(address, IPv4Address)
        and target.port == PORT
        and any(address in network for network in VPC_NETWORKS)
    )


class RuleChecker:
    """Checks the calls of one run."""

    def __init__(self, *, dry_run: bool, deadline: float, max_targets: int) -> None:
        self._dry_run = dry_run
        self._deadline = deadline
        self._max_targets = max_targets
        self._observations: list[Observation] = []
        self._group = TargetGroup(())
        self._registered_since: set[Target] = set()

    def on_description(self, group: TargetGroup) -> None:
        self._group = group
        self._registered_since = set()

    def on_observation(self, observation: Observation | FailedObservation) -> None:
        if isinstance(observation, Observation):
            self._observations.append(observation)

    def check_registration(self, targets: Sequence[Target]) -> None:
        """Check a call of RegisterTargets before it is made."""
        newest = self._newest()
        assert len(_desired_in(newest)) <= self._max_targets, "too many addresses"
        for target in targets:
            assert is_allowed(target), f"{target} is not allowed"
            assert target not in self._group.registered, f"{target} was registered already"
            named = _names(newest, target)
            assert named or target.address in newest.contested, f"no source names {target}"
            if target in self._group.draining:
                confirmed = self._confirmed(_names, target)
                assert confirmed, f"{target} is draining, and its return is not confirmed"

    def on_registration(self, targets: Sequence[Target]) -> None:
        """Remember a registration that succeeded."""
        self._registered_since.update(targets)

    def check_deregistration(self, targets: Sequence[Target]) -> None:
        """Check a call of DeregisterTargets before it is made."""
        newest = self._newest()
        desired = _desired_in(newest)
        registered = self._group.registered | self._registered_since
        assert desired, "removed after an empty observation"
        assert all(map(is_allowed, desired)), "removed after a vetoed observation"
        assert len(desired) <= self._max_targets, "too many addresses"
        assert registered - set(targets), "no target would stay registered"
        for target in targets:
            assert target in registered, f"{target} was not registered"
            assert isinstance(target.address, IPv4Address), f"{target} has the other IP version"
            assert not _names(newest, target), f"{target} is desired"
            confirmed = newest.corroborated or self._confirmed(_does_not_name, target)
            assert confirmed, f"the absence of {target} is not confirmed"

    def _newest(self) -> Observation:
        """Return the observation that justifies a change."""
        assert not self._dry_run, "a dry run changes nothing"
        newest = self._observations[-1]
        assert newest.at < self._deadline, "decided after the deadline"
        return newest

    def _confirmed(self, holds: Callable[[Observation, Target], bool], target: Target) -> bool:
        """Whether a condition has held in every observation of the confirm window."""
        newest = self._observations[-1]
        ttls = [o.ttl for o in self._observations if o.ttl is not None]
        since = newest.at
        for observation in reversed(self._observations):
            if not holds(observation, target):
                break
            since = observation.at
        return since + max(CONFIRM_SECONDS, max(ttls, default=0) + 1) <= newest.at


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


def _desired_in(observation: Observation) -> set[Target]:
    return {Target(a, PORT) for a in observation.addresses if isinstance(a, IPv4Address)}


def _names(observation: Observation, target: Target) -> bool:
    return target.port == PORT and target.address in observation.addresses


def _does_not_name(observation: Observation, target: Target) -> bool:
    return not _names(observation, target)
