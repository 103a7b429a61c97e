"""The loop as a state machine without I/O: it maps what a run has seen to the next step.

An *iteration* takes a snapshot (the target group as described, then an observation), makes a plan
and applies it. A *DNS poll* is an observation alone: while the observation stays the same, the
group needs no new description. The caller owns the clock, the waits and the calls.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from typing import TypeAlias

from target_sync.errors import ObservationDeniedError, ObservationError, TargetSyncError
from target_sync.model import (
    FailedObservation,
    LookupFailure,
    Observation,
    RunStatus,
    StandbyCheck,
    Target,
    TargetGroup,
    first_time,
    unbroken_since,
)
from target_sync.reconcile.planner import Change, Plan, make_plan
from target_sync.reconcile.tracks import Membership, Tracks
from target_sync.targets.warm_pool import PoolReport

#: The interval of descriptions while there is nothing to change. AWS checks the health of targets
#: every 5 s (template.yaml), so their states change no faster. As long as the shortest confirm
#: window, so that a removal needs one description and not two.
DESCRIBE_SECONDS = 6.0
#: How long a run waits for health after its last registration. AWS's guide says "a few minutes",
#: others measured 90 to 180 s. After that an alarm reports it.
HEALTHY_WITHIN_SECONDS = 300.0
#: The age at which a plan is discarded, after a slow call or a frozen container.
STALE_SECONDS = 5.0
#: The longest pause after failures. Each failure in a row doubles the pause.
LONGEST_PAUSE_SECONDS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """The task and the limits of a run. Times and durations are in seconds of one clock.

    Attributes:
        deadline: When the run must have ended.
        watch_until: Until when the run waits for a change that an event announced; equal to
            ``started_at`` if no event did.
        watch_seconds: How long the run retries after failures once it has detected a change.
        poll_until: Until when the run polls DNS without an announced change; ``started_at`` or
            earlier if it does not.
        dns_poll_seconds: The interval of those polls.
        wait_for_healthy: Whether a run that changed something waits until the desired targets are
            healthy.
        iteration_seconds: The interval between observations while a change is expected.
    """

    started_at: float
    deadline: float
    watch_until: float
    watch_seconds: float = 0.0
    poll_until: float = 0.0
    dns_poll_seconds: float = 0.0
    wait_for_healthy: bool = True
    dry_run: bool = False
    iteration_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The group as described, and the observation made after it.

    Attributes:
        standby: The check of the undesired targets' addresses; None without a check.
    """

    group: TargetGroup
    observation: Observation | FailedObservation
    standby: StandbyCheck | None = None


class WaitsFor(StrEnum):
    """What a run waits for, and therefore continues."""

    CONFIRMATION = "confirmation"
    HEALTH = "health"
    AGREEMENT = "agreement"
    ANNOUNCED_CHANGE = "announced_change"
    NEXT_RUN = "next_run"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply the plan."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Take a snapshot at this time."""

    at: float


@dataclass(frozen=True, slots=True)
class PollDns:
    """Poll DNS at this time."""

    at: float


@dataclass(frozen=True, slots=True)
class Done:
    """End the run with this status, and raise the error if there is one."""

    status: RunStatus
    error: TargetSyncError | None = None


Step: TypeAlias = Apply | TakeSnapshot | PollDns | Done
#: What a run knows after something happened, and its next step.
Next: TypeAlias = tuple["RunState", Step]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """What a run knows so far. Every method returns a new value.

    Attributes:
        tracks: What it knows about each target.
        observations: The first and the newest successful observation.
        snapshot: The newest snapshot; None before the first.
        plan: The plan made from it; None if its observation failed.
        initially_registered: The targets registered in the first snapshot; None before it.
        iterations: The number of snapshots.
        registered: What this run has registered, with the reasons.
        deregistered: What this run has deregistered, with the reasons.
        detected_at: When this run first saw changed addresses or drift.
        registered_at: When the last registration of this run succeeded.
        healthy_at: Since when, after the detection, every desired target has been healthy.
        pool: What the run did with the warm targets; None before the first refresh.
        waited_for: What the run has waited for. The last one is what it waits for now.
        error: The error of the last call, if it failed.
        failures_in_a_row: The number of failures since the last snapshot with nothing to apply,
            or the last successful change.
    """

    run_config: RunConfig
    tracks: Tracks
    observations: tuple[Observation, ...] = ()
    snapshot: Snapshot | None = None
    plan: Plan | None = None
    initially_registered: frozenset[Target] | None = None
    iterations: int = 0
    dns_polls: int = 0
    registered: tuple[Change, ...] = ()
    deregistered: tuple[Change, ...] = ()
    detected_at: float | None = None
    registered_at: float | None = None
    healthy_at: float | None = None
    pool: PoolReport | None = None
    waited_for: tuple[WaitsFor, ...] = ()
    error: TargetSyncError | None = None
    failures: int = 0
    failures_in_a_row: int = 0

    @property
    def changed(self) -> bool:
        """Whether this run has changed the group."""
        return bool(self.registered or self.deregistered)

    @property
    def newest(self) -> Observation:
        """The newest observation of a run that has one."""
        return self.observations[-1]

    @property
    def healthy(self) -> bool:
        """Whether every desired target is registered and healthy."""
        if self.snapshot is None or isinstance(self.snapshot.observation, FailedObservation):
            return False
        desired = self.tracks.desired
        return bool(desired) and self.snapshot.group.healthy.issuperset(desired)

    def is_stale(self, now: float) -> bool:
        """Whether the newest observation is too old for a change."""
        return now > self.newest.at + STALE_SECONDS

    def after_snapshot(self, snapshot: Snapshot) -> Next:
        """Return the state after a snapshot, and the next step."""
        group, observation = snapshot.group, snapshot.observation
        initially = self.initially_registered
        state = replace(
            self,
            snapshot=snapshot,
            plan=None,
            initially_registered=group.registered if initially is None else initially,
            iterations=self.iterations + 1,
        )
        if isinstance(observation, FailedObservation):
            state = replace(state, tracks=self.tracks.after_description(group, observation.at))
            return state.after_failure(_error_of(observation), observation.at)

        tracks = self.tracks.after_snapshot(group, observation)
        plan = make_plan(group, observation, tracks, snapshot.standby)
        state = state.with_observation(tracks, observation)
        return replace(state, plan=plan).with_plan(plan)

    def after_dns_poll(self, observation: Observation | FailedObservation) -> Next:
        """Return the state after a DNS poll, and the next step."""
        state = replace(self, dns_polls=self.dns_polls + 1)
        if isinstance(observation, FailedObservation):
            return state.after_failure(_error_of(observation), observation.at)
        state = state.with_observation(self.tracks.after_observation(observation), observation)
        if self.plan is None or not observation.says_the_same(self.newest):
            # A plan needs an observation that is fresher than the description of the group.
            return state, TakeSnapshot(observation.at)
        return state.wait(self.plan)

    def after_registration(self, changes: Iterable[Change], at: float) -> "RunState":
        """Return the state after these registrations."""
        changes = tuple(changes)
        return replace(
            self,
            registered=_merged(self.registered, changes),
            registered_at=at,
            tracks=self._tracks_after(changes, Membership.REGISTERED),
            failures_in_a_row=0,
        )

    def after_deregistration(self, changes: Iterable[Change]) -> "RunState":
        """Return the state after these deregistrations."""
        changes = tuple(changes)
        return replace(
            self,
            deregistered=_merged(self.deregistered, changes),
            tracks=self._tracks_after(changes, Membership.LEFT),
            failures_in_a_row=0,
        )

    def after_change(self, plan: Plan) -> Next:
        """Return the state and the step after an applied plan: a snapshot, to see the effect.

        It is taken at once if a removal waits for it. If the run waits for a confirmation, it needs
        a snapshot anyway, and no other one.
        """
        due = plan.confirmation_due_at
        if due is not None and due <= self.newest.at:
            return self, TakeSnapshot(self.newest.at)
        if due is not None and due < self.run_config.deadline and not plan.to_deregister:
            return self.wait(plan)
        return self, TakeSnapshot(self.newest.at + self.run_config.iteration_seconds)

    def needs_refresh(self, step: Step) -> bool:
        """Whether the warm pool is to be refreshed before this step.

        It is refreshed once a run, and again when the report says so. Nothing else is due then:
        the run would end, or wait for the next one.
        """
        plan, config = self.plan, self.run_config
        if plan is None or not plan.is_complete or config.dry_run:
            return False
        is_due = self.pool is None or self._pool_due_at <= self.newest.at
        return is_due and self.newest.at < config.deadline and self._is_idle(step)

    def _is_idle(self, step: Step) -> bool:
        """Whether the run ends with this step, or waits for the next run until then."""
        if isinstance(step, Done):
            return step.error is None
        waits = self.waited_for[-1:] == (WaitsFor.NEXT_RUN,)
        return waits and not isinstance(step, Apply) and step.at > self.newest.at

    def after_refresh(self, report: PoolReport) -> Next:
        """Return the state after a refresh of the warm pool, and the next step."""
        assert self.plan is not None  # noqa: S101 - a refresh needs one
        return replace(self, pool=report.after(self.pool)).wait(self.plan)

    @property
    def _pool_due_at(self) -> float:
        """When the warm pool needs its next refresh in this run; infinity if it does not."""
        return inf if self.pool is None or self.pool.due_at is None else self.pool.due_at

    def after_failure(self, error: TargetSyncError, at: float) -> Next:
        """Return the state after a failed call, and the next step.

        The run retries while it waits for an announced change, while it polls DNS, or for
        ``watch_seconds`` after it detected a change. Any other run fails at once, so that the
        alarm sees it; the next run starts a minute later. A final error ends every run.
        """
        config, in_a_row = self.run_config, self.failures_in_a_row + 1
        failed = replace(self, error=error, failures=self.failures + 1, failures_in_a_row=in_a_row)
        pause = min(config.iteration_seconds * 2 ** (in_a_row - 1), LONGEST_PAUSE_SECONDS)
        retry_until = min(max(self._watch_until, config.poll_until), config.deadline)
        if error.retryable and at + pause < retry_until:
            return failed.waiting_for(WaitsFor.RETRY), TakeSnapshot(at + pause)
        return failed, Done(RunStatus.FAILED, error)

    @property
    def _watch_until(self) -> float:
        """Until when this run expects a change, announced by an event or detected by itself."""
        config = self.run_config
        if self.detected_at is None:
            return config.watch_until
        return max(config.watch_until, self.detected_at + config.watch_seconds)

    @property
    def _addresses_changed(self) -> bool:
        """Whether the newest addresses differ from the first ones.

        Addresses that only one resolver's cache gave in between do not count.
        """
        return self.newest.addresses != self.observations[0].addresses

    def with_observation(self, tracks: Tracks, observation: Observation) -> "RunState":
        """Return the state with this observation, and the tracks after it."""
        observations = (*self.observations[:1], observation)
        return replace(self, tracks=tracks, observations=observations, error=None)

    def _tracks_after(self, changes: Iterable[Change], membership: Membership) -> Tracks:
        return self.tracks.after_change(membership, [c.target for c in changes], self.newest.at)

    def with_plan(self, plan: Plan) -> Next:
        """Return the state with the times that follow from the newest plan, and the next step."""
        now, config = self.newest.at, self.run_config
        is_found = not plan.is_complete or self._addresses_changed or bool(self.newest.contested)
        detected_at = first_time(self.detected_at, now, holds=is_found)
        is_healthy = self.healthy and detected_at is not None
        healthy_at = unbroken_since(self.healthy_at, now, holds=is_healthy)
        state = replace(self, detected_at=detected_at, healthy_at=healthy_at)
        if config.dry_run:
            return state, Done(RunStatus.DRY_RUN)
        if plan.has_calls and now < config.deadline:
            return state, Apply(plan)
        return replace(state, failures_in_a_row=0).wait(plan)

    def wait(self, plan: Plan) -> Next:
        """Return the next observation while the run waits for something, or else its end."""
        config, now = self.run_config, self.newest.at
        at = now + config.iteration_seconds
        reason, until = self._waits_for(plan)
        if at < min(until, config.deadline):
            is_due = at >= self._snapshot_due_at(plan)
            return self.waiting_for(reason), TakeSnapshot(at) if is_due else PollDns(at)
        at = now + config.dns_poll_seconds
        if at < min(config.poll_until, config.deadline):
            is_due = at >= self._pool_due_at
            return self.waiting_for(WaitsFor.NEXT_RUN), TakeSnapshot(at) if is_due else PollDns(at)
        return self, Done(self._status(plan))

    def _waits_for(self, plan: Plan) -> tuple[WaitsFor, float]:
        """Return what this run waits for, and until when it observes every second."""
        config, due = self.run_config, plan.confirmation_due_at
        if due is not None and due < config.deadline:
            return WaitsFor.CONFIRMATION, config.deadline
        is_open = not self.healthy and not plan.vetoes and not plan.is_blocked
        if self.changed and config.wait_for_healthy and is_open:
            since = self.detected_at if self.registered_at is None else self.registered_at
            return WaitsFor.HEALTH, max(config.watch_until, (since or 0.0) + HEALTHY_WITHIN_SECONDS)
        if self.newest.contested:
            # Sources disagree at the beginning or the end of a failover, announced or not.
            return WaitsFor.AGREEMENT, self._watch_until
        return WaitsFor.ANNOUNCED_CHANGE, self.newest.at if self._is_over else config.watch_until

    @property
    def _is_over(self) -> bool:
        """Whether the change that an event announced is over."""
        is_followed = bool(self.registered) or self._addresses_changed
        is_healthy = self.healthy or not self.run_config.wait_for_healthy
        return is_followed and is_healthy and not self.newest.disagreement

    def _snapshot_due_at(self, plan: Plan) -> float:
        """Return when the next snapshot is due while the observation stays the same."""
        assert self.snapshot is not None  # noqa: S101 - there is a plan
        stale_at, due = self.snapshot.observation.at + DESCRIBE_SECONDS, plan.confirmation_due_at
        return stale_at if due is None else min(due, stale_at)

    def waiting_for(self, reason: WaitsFor) -> "RunState":
        """Return the state of a run that now waits for this."""
        others = (r for r in self.waited_for if r is not reason)
        return replace(self, waited_for=(*others, reason))

    def _status(self, plan: Plan) -> RunStatus:
        if plan.vetoes:
            return RunStatus.VETOED
        if not plan.is_complete or plan.is_blocked or self.newest.disagreement:
            return RunStatus.UNFINISHED
        if not self.changed:
            return RunStatus.IN_SYNC
        if self.run_config.wait_for_healthy and not self.healthy:
            return RunStatus.UNHEALTHY
        return RunStatus.SYNCED


def _merged(before: Iterable[Change], changes: Iterable[Change]) -> tuple[Change, ...]:
    """Return the changes without repetitions, which add nothing for a reader."""
    return tuple(dict.fromkeys((*before, *changes)))


def _error_of(observation: FailedObservation) -> ObservationError:
    denied = observation.failure is LookupFailure.ACCESS_DENIED
    return (ObservationDeniedError if denied else ObservationError)(observation.detail)
