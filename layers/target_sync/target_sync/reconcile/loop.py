"""The loop as a state machine without I/O: it maps what a run has seen to the next step.

An *iteration* takes a snapshot (the target group as described, then an observation), makes a plan
and applies it. A *DNS poll* is an observation alone: while the observation stays the same, the
group needs no new description. The caller owns the clock, the waits and the calls.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from target_sync.model import (
    FailedObservation,
    Observation,
    RunStatus,
    StandbyCheck,
    SyncPolicy,
    Target,
    TargetGroup,
    desired_targets,
)
from target_sync.reconcile.planner import (
    Change,
    Evidence,
    Plan,
    healthy_undesired_targets,
    make_plan,
)

#: The interval of descriptions while there is nothing to change. AWS checks the health of targets
#: every 5 s (template.yaml), so their states change no faster.
DESCRIBE_SECONDS = 5.0
#: How long the group must be in sync and healthy before a run after a completed failover ends. By
#: then a dead primary has failed its health checks, and no cache holds its address.
STABLE_SECONDS = 30.0
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
        change_completed: Whether the event reports that the change is complete.
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
    change_completed: bool = False
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


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call."""

    detail: str
    at: float


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply the plan, then take a snapshot at this time."""

    plan: Plan
    next_snapshot_at: float


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
    """End the run with this status."""

    status: RunStatus


Step: TypeAlias = Apply | TakeSnapshot | PollDns | Done


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """What a run knows so far. Every method returns a new value.

    Attributes:
        observations: The successful observations, oldest first. A series of equal observations
            keeps only its first and last one.
        snapshot: The newest snapshot; None before the first.
        plan: The plan made from it; None if its observation failed.
        initially_registered: The targets registered in the first snapshot; None before it.
        registered_now: The targets registered as far as this run knows.
        described_at: When the observation of the newest snapshot was made.
        iterations: The number of snapshots.
        registered: What this run has registered, with the reasons.
        deregistered: What this run has deregistered, with the reasons.
        detected_at: When this run first saw changed addresses or drift.
        registered_at: When the last registration of this run succeeded.
        healthy_at: Since when, after the detection, every desired target has been healthy.
        in_sync_since: Since when every snapshot has shown the group in sync and healthy.
        failure: The failure of the last call, if it failed.
        failures_in_a_row: The number of failures since the last snapshot with nothing to apply,
            or the last successful change.
    """

    run_config: RunConfig
    policy: SyncPolicy
    observations: tuple[Observation, ...] = ()
    snapshot: Snapshot | None = None
    plan: Plan | None = None
    initially_registered: frozenset[Target] | None = None
    registered_now: frozenset[Target] = frozenset()
    described_at: float = 0.0
    evidence: Evidence = field(default_factory=Evidence)
    iterations: int = 0
    dns_polls: int = 0
    registered: tuple[Change, ...] = ()
    deregistered: tuple[Change, ...] = ()
    detected_at: float | None = None
    registered_at: float | None = None
    healthy_at: float | None = None
    in_sync_since: float | None = None
    failure: Failure | None = None
    failures: int = 0
    failures_in_a_row: int = 0

    @property
    def changed(self) -> bool:
        """Whether this run has changed the group."""
        return bool(self.registered or self.deregistered)

    @property
    def addresses_changed(self) -> bool:
        """Whether the addresses differed in any two observations of this run."""
        return any(o.addresses != self.observations[0].addresses for o in self.observations)

    @property
    def addresses_differ_from_first(self) -> bool:
        """Whether the newest addresses differ from the first ones.

        Addresses that only one resolver's cache gave in between do not count.
        """
        return self.observations[-1].addresses != self.observations[0].addresses

    def is_stale(self, now: float) -> bool:
        """Whether the newest observation is too old for a change."""
        return now > self.observations[-1].at + STALE_SECONDS

    @property
    def sources_disagree(self) -> bool:
        """Whether the sources of the newest observation disagree."""
        return bool(self.observations and self.observations[-1].disagreement)

    @property
    def healthy(self) -> bool:
        """Whether every desired target is registered and healthy."""
        if self.snapshot is None or isinstance(self.snapshot.observation, FailedObservation):
            return False
        desired = desired_targets(self.observations[-1], self.policy)
        return bool(desired) and self.snapshot.group.healthy.issuperset(desired)

    def after_snapshot(self, snapshot: Snapshot) -> tuple["RunState", Step]:
        """Return the state after a snapshot, and the next step."""
        observation = snapshot.observation
        if isinstance(observation, FailedObservation):
            failed = replace(self.with_snapshot(snapshot), plan=None)
            return failed.after_failure(observation.detail, observation.at)

        evidence = self._evidence(snapshot, observation)
        state = self.with_snapshot(snapshot).with_observation(observation)
        plan = make_plan(snapshot.group, state.observations, self.policy, evidence)
        if plan.has_missing_targets:
            desired = desired_targets(observation, self.policy)
            superseded = dict.fromkeys(snapshot.group.registered - desired, observation.at)
            superseded.update(evidence.superseded_since)
            evidence = replace(evidence, superseded_since=superseded)
        state = replace(state, plan=plan, evidence=evidence, described_at=observation.at)
        state = state.with_plan(plan, observation.at)
        step = state.next_step(plan, observation.at)
        if isinstance(step, Apply):
            return state, step
        return replace(state, failures_in_a_row=0), step

    def _evidence(self, snapshot: Snapshot, observation: Observation) -> Evidence:
        """Return the evidence for the plan of this snapshot."""
        past, registered = self.evidence, snapshot.group.registered
        healthy = healthy_undesired_targets(snapshot.group, observation, self.policy)
        known = past.registered_since.keys() | past.absent_since.keys()
        at = observation.at
        return Evidence(
            check=snapshot.standby,
            undesired_healthy_since={t: past.undesired_healthy_since.get(t, at) for t in healthy},
            superseded_since=past.superseded_since,
            registered_since={t: past.registered_since.get(t, at) for t in registered},
            absent_since={t: past.absent_since.get(t, at) for t in known - registered},
        )

    def after_dns_poll(
        self, observation: Observation | FailedObservation
    ) -> tuple["RunState", Step]:
        """Return the state after a DNS poll, and the next step."""
        state = replace(self, dns_polls=self.dns_polls + 1)
        if isinstance(observation, FailedObservation):
            return state.after_failure(observation.detail, observation.at)
        same = observation.says_the_same(self.observations[-1])
        state = state.with_observation(observation)
        if self.plan is None or not same:
            # A plan needs an observation that is fresher than the description of the group.
            return state, TakeSnapshot(observation.at)
        return state, state.wait(self.plan, observation.at)

    def after_registration(self, changes: Iterable[Change], at: float) -> "RunState":
        """Return the state after these registrations."""
        changes = tuple(changes)
        return replace(
            self,
            registered=(*self.registered, *changes),
            registered_now=self.registered_now.union(c.target for c in changes),
            registered_at=at,
            failures_in_a_row=0,
        )

    def after_deregistration(self, changes: Iterable[Change]) -> "RunState":
        """Return the state after these deregistrations."""
        changes, past = tuple(changes), self.evidence
        removed = {c.target for c in changes}
        registered_since = {t: s for t, s in past.registered_since.items() if t not in removed}
        absent_since = {**past.absent_since, **dict.fromkeys(removed, self.described_at)}
        return replace(
            self,
            deregistered=(*self.deregistered, *changes),
            registered_now=self.registered_now - removed,
            evidence=replace(past, registered_since=registered_since, absent_since=absent_since),
            failures_in_a_row=0,
        )

    def after_change(self, applied: Apply) -> Step:
        """Return the step after an applied plan: a snapshot, to see the effect.

        A run that only registered and does not wait for health polls DNS instead. A removal is
        still to be confirmed, and that takes a snapshot anyway.
        """
        config, at = self.run_config, applied.next_snapshot_at
        due = applied.plan.confirmation_due_at
        if config.wait_for_healthy or applied.plan.to_deregister or due is None:
            return TakeSnapshot(at)
        polls = at < due < config.deadline - config.iteration_seconds
        return PollDns(at) if polls else TakeSnapshot(at)

    def after_failure(self, detail: str, at: float) -> tuple["RunState", Step]:
        """Return the state after a failed call, and the next step.

        The run retries while it waits for an announced change, while it polls DNS, or for
        ``watch_seconds`` after it detected a change. Any other run fails at once, so that the
        alarm sees it; the next run starts a minute later.
        """
        in_a_row = self.failures_in_a_row + 1
        failed = replace(
            self,
            failure=Failure(detail, at),
            failures=self.failures + 1,
            failures_in_a_row=in_a_row,
        )
        pause = min(self.run_config.iteration_seconds * 2 ** (in_a_row - 1), LONGEST_PAUSE_SECONDS)
        retry_until = max(self._watch_until, self.run_config.poll_until)
        if at + pause < min(retry_until, self.run_config.deadline):
            return failed, TakeSnapshot(at + pause)
        return failed, Done(RunStatus.FAILED)

    def with_snapshot(self, snapshot: Snapshot) -> "RunState":
        """Return the state with this snapshot."""
        registered = snapshot.group.registered
        return replace(
            self,
            snapshot=snapshot,
            initially_registered=registered
            if self.initially_registered is None
            else self.initially_registered,
            registered_now=registered,
            iterations=self.iterations + 1,
        )

    def with_observation(self, observation: Observation) -> "RunState":
        """Return the state with this observation."""
        return replace(self, observations=_condensed(self.observations, observation), failure=None)

    def with_plan(self, plan: Plan, now: float) -> "RunState":
        """Return the state with the times that follow from this plan."""
        detected = not plan.is_complete or self.addresses_changed or self._contested
        detected_at = _first_time(self.detected_at, now, detected)
        healthy = self.healthy
        return replace(
            self,
            detected_at=detected_at,
            healthy_at=_unbroken_since(self.healthy_at, now, healthy and detected_at is not None),
            in_sync_since=_unbroken_since(self.in_sync_since, now, healthy and plan.is_complete),
        )

    @property
    def _contested(self) -> bool:
        return bool(self.observations[-1].contested)

    @property
    def _watch_until(self) -> float:
        """Until when this run expects a change, announced by an event or detected by itself."""
        config = self.run_config
        if self.detected_at is None:
            return config.watch_until
        return max(config.watch_until, self.detected_at + config.watch_seconds)

    def next_step(self, plan: Plan, now: float) -> Step:
        """Return the step that follows from the newest plan."""
        if self.run_config.dry_run:
            return Done(RunStatus.DRY_RUN)
        if plan.has_calls and now < self.run_config.deadline:
            return Apply(plan, now + self.run_config.iteration_seconds)
        return self.wait(plan, now)

    def wait(self, plan: Plan, now: float) -> Step:
        """Return the next observation while a change is expected, or else the end of the run."""
        config = self.run_config
        at = now + config.iteration_seconds
        if at < self._change_expected_until(plan, now):
            return TakeSnapshot(at) if at >= self._snapshot_due_at(plan) else PollDns(at)
        if now + config.dns_poll_seconds < min(config.poll_until, config.deadline):
            return PollDns(now + config.dns_poll_seconds)
        return Done(self._status(plan))

    def _snapshot_due_at(self, plan: Plan) -> float:
        """Return when the next snapshot is due while the observation stays the same.

        A run that does not wait for health skips a description if a confirmation needs another
        one shortly after.
        """
        config, due = self.run_config, plan.confirmation_due_at
        stale_at = self.described_at + DESCRIBE_SECONDS
        if due is None:
            return stale_at
        if not config.wait_for_healthy and due < stale_at + 2 * config.iteration_seconds:
            return due
        return min(due, stale_at)

    def _change_expected_until(self, plan: Plan, now: float) -> float:
        """Return until when the run observes every second."""
        config = self.run_config
        due = plan.confirmation_due_at
        if due is not None and due < config.deadline:
            return config.deadline
        wait = config.wait_for_healthy
        if self.changed and wait and not self.healthy and not plan.vetoes:
            return min(max(config.watch_until, self._healthy_expected_by), config.deadline)
        if self._contested:
            # Sources disagree at the beginning or the end of a failover, announced or not.
            return min(self._watch_until, config.deadline)
        if self._has_followed_change(now):
            return now
        return min(config.watch_until, config.deadline)

    def _has_followed_change(self, now: float) -> bool:
        """Whether the change that an event announced is over."""
        if self.sources_disagree:
            return False
        followed = self.registered or self.addresses_differ_from_first
        if followed and (self.healthy or not self.run_config.wait_for_healthy):
            return True
        return (
            self.run_config.change_completed
            and self.in_sync_since is not None
            and now >= self.in_sync_since + STABLE_SECONDS
        )

    @property
    def _healthy_expected_by(self) -> float:
        """Until when a run that changed something waits for health."""
        since = self.detected_at if self.registered_at is None else self.registered_at
        return (since or 0.0) + HEALTHY_WITHIN_SECONDS

    def _status(self, plan: Plan) -> RunStatus:
        if plan.vetoes:
            return RunStatus.VETOED
        if not plan.is_complete or plan.has_failed_checks or self.sources_disagree:
            return RunStatus.UNFINISHED
        if not self.changed:
            return RunStatus.IN_SYNC
        if self.run_config.wait_for_healthy and not self.healthy:
            return RunStatus.UNHEALTHY
        return RunStatus.SYNCED


def _first_time(before: float | None, now: float, holds: bool) -> float | None:  # noqa: FBT001
    """Return when a condition first held."""
    return now if before is None and holds else before


def _unbroken_since(before: float | None, now: float, holds: bool) -> float | None:  # noqa: FBT001
    """Return since when a condition has held without a break."""
    if not holds:
        return None
    return now if before is None else before


def _condensed(
    observations: tuple[Observation, ...], newest: Observation
) -> tuple[Observation, ...]:
    """Append the newest observation, and keep only both ends of a series of equal ones.

    The rules only need the duration of a series and its longest TTL.
    """
    if len(observations) < 2 or not all(newest.says_the_same(o) for o in observations[-2:]):  # noqa: PLR2004 - the two ends
        return (*observations, newest)
    ttls = [o.ttl for o in (observations[-1], newest) if o.ttl is not None]
    return (*observations[:-1], replace(newest, ttl=max(ttls, default=None)))
