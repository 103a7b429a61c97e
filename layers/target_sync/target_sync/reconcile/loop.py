"""The loop as a state machine without I/O: given what was seen, it answers what to do next.

A *look* is one description of the target group followed by one observation of the endpoint. A
*poll* is an observation alone: as long as the answer stays what it was, the group needs no
description. The answer to both is one of four steps: apply a plan, look at a time, poll at a
time, or done. The caller owns the clock, the waiting and the calls; this module only decides.
"""

from collections.abc import Iterable, Mapping
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

#: Between two descriptions of the group while nothing is to be done. AWS checks the targets every
#: 5 s (template.yaml), so their states change no faster.
DESCRIBE_SECONDS = 5.0
#: After an event that says a failover is complete, a group that has been right and healthy for so
#: long is settled: by then a primary that died has failed its health checks, and no cache holds
#: the old answer.
STABLE_SECONDS = 30.0
#: For so long a run waits for health after its last registration. AWS's guide says "a few minutes",
#: others saw 90 to 180 s; what takes longer is for a person to look at, and an alarm rings.
HEALTHY_WITHIN_SECONDS = 300.0
#: A plan older than this, after a slow call or a frozen container, is made anew.
STALE_SECONDS = 5.0
#: Longest pause after failures in a row, each of which doubles it.
LONGEST_PAUSE_SECONDS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What a run has to do. Moments and durations are in seconds of one clock.

    Attributes:
        started_at: When the run began.
        deadline: When it has to have ended, whatever is left.
        watch_until: Until when it keeps looking for a change that an event announced; equal
            to ``started_at`` if nothing was announced.
        watch_seconds: How long it outlives failures once it has found something to do.
        settles: Whether the event said that the change is complete.
        vigil_until: Until when it goes on polling although nothing was announced; equal to
            ``started_at`` if it does not.
        poll_seconds: Time between two polls of the vigil.
        wait_for_healthy: Whether a run that changed something stays until the right targets
            are healthy.
        dry_run: Plan once and change nothing.
        look_seconds: Time between two observations when something is to be expected.
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
    """The group as described, then the endpoint as observed: the observation is the fresher.

    Attributes:
        group: The group.
        observation: What the endpoint said.
        standby: Whose the registered addresses outside the answer are; None if nobody was asked.
    """

    group: TargetGroup
    observation: Observation | FailedObservation
    standby: StandbyCheck | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed in a way that may pass."""

    detail: str
    at: float


@dataclass(frozen=True, slots=True)
class Apply:
    """Register, then deregister, what the plan says; then look again at the time given."""

    plan: Plan
    next_snapshot_at: float


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Nothing to change now: look again at this time."""

    at: float


@dataclass(frozen=True, slots=True)
class PollDns:
    """Nothing to change as long as the answer stays what it is: observe again at this time."""

    at: float


@dataclass(frozen=True, slots=True)
class Done:
    """The run is over."""

    status: RunStatus


Step: TypeAlias = Apply | TakeSnapshot | PollDns | Done


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """What a run knows so far. Every method answers a new value and leaves this one alone.

    Attributes:
        observations: The successful observations, oldest first. Of a series that said the same
            only the first and the last are kept.
        look: The last look; None before the first.
        plan: The plan made from it; None when the observation failed.
        found: The targets that were registered when this run looked first; None before that.
        left: The targets that are registered as far as this run knows.
        described_at: When that look was complete.
        answering_since: Since when a target outside the answer has been healthy beside a right
            one that did not look dead.
        older: The targets that were registered when this run found a right one missing, and when
            that was.
        registered_since: Since when each registered target has been in the group at every look.
        absent_since: Since when each target that was registered has not been.
        looks: How many looks there were.
        polls: How many polls there were.
        registered: What this run has registered, and why.
        deregistered: What this run has deregistered, and why.
        detected_at: When it was first seen that the answer had changed or the group was not
            right.
        registered_at: When the last registration of this run succeeded.
        healthy_at: Since when, after that, every right target has been healthy.
        right_since: Since when the group has been right and healthy at every look.
        failure: The failure of the last look, poll or change, if it failed.
        failures: How many failures there were.
        failures_in_a_row: How many there were since a look that left nothing to apply, or a change
            that succeeded.
    """

    run_config: RunConfig
    policy: SyncPolicy
    observations: tuple[Observation, ...] = ()
    snapshot: Snapshot | None = None
    plan: Plan | None = None
    initially_registered: frozenset[Target] | None = None
    registered_now: frozenset[Target] = frozenset()
    described_at: float = 0.0
    undesired_healthy_since: Mapping[Target, float] = field(default_factory=dict)
    superseded_since: Mapping[Target, float] = field(default_factory=dict)
    registered_since: Mapping[Target, float] = field(default_factory=dict)
    absent_since: Mapping[Target, float] = field(default_factory=dict)
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
        """Whether the endpoint's addresses changed while this run was looking."""
        return any(o.addresses != self.observations[0].addresses for o in self.observations)

    @property
    def addresses_moved(self) -> bool:
        """Whether the newest answer is another one than this run began with.

        An answer that came and went, from a resolver with another cache, is no move.
        """
        return self.observations[-1].addresses != self.observations[0].addresses

    def is_stale(self, now: float) -> bool:
        """Whether the newest observation is too old to change anything because of it."""
        return now > self.observations[-1].at + STALE_SECONDS

    @property
    def sources_disagree(self) -> bool:
        """Whether the newest answer is one on which its sources disagree."""
        return bool(self.observations and self.observations[-1].disagreement)

    @property
    def healthy(self) -> bool:
        """Whether every target that the newest answer asks for is registered and healthy."""
        if self.snapshot is None or isinstance(self.snapshot.observation, FailedObservation):
            return False
        desired = desired_targets(self.observations[-1], self.policy)
        return bool(desired) and self.snapshot.group.healthy.issuperset(desired)

    def after_snapshot(self, snapshot: Snapshot) -> tuple["RunState", Step]:
        """Take in a look and decide the next step."""
        observation = snapshot.observation
        if isinstance(observation, FailedObservation):
            seen = replace(self.with_snapshot(snapshot), plan=None)
            return seen.after_failure(observation.detail, observation.at)

        seen = replace(
            self.with_snapshot(snapshot).with_observation(observation),
            described_at=observation.at,
            registered_since={
                target: self.registered_since.get(target, observation.at)
                for target in snapshot.group.registered
            },
            absent_since={
                target: self.absent_since.get(target, observation.at)
                for target in self.registered_since.keys() | self.absent_since.keys()
                if target not in snapshot.group.registered
            },
            undesired_healthy_since={
                target: self.undesired_healthy_since.get(target, observation.at)
                for target in healthy_undesired_targets(snapshot.group, observation, self.policy)
            },
        )
        plan = make_plan(
            snapshot.group,
            seen.observations,
            self.policy,
            Evidence(
                check=snapshot.standby,
                undesired_healthy_since=seen.undesired_healthy_since,
                superseded_since=seen.superseded_since,
                registered_since=seen.registered_since,
                absent_since=seen.absent_since,
            ),
        )
        if plan.finds_missing:
            desired = desired_targets(observation, self.policy)
            drift = dict.fromkeys(snapshot.group.registered - desired, observation.at)
            seen = replace(seen, superseded_since={**drift, **seen.superseded_since})
        seen = replace(seen, plan=plan).with_plan(plan, observation.at)
        step = seen.next_step(plan, observation.at)
        if isinstance(step, Apply):
            return seen, step
        return replace(seen, failures_in_a_row=0), step

    def after_dns_poll(
        self, observation: Observation | FailedObservation
    ) -> tuple["RunState", Step]:
        """Take in an observation made without a look, after a look that did not fail."""
        seen = replace(self, dns_polls=self.dns_polls + 1)
        if isinstance(observation, FailedObservation):
            return seen.after_failure(observation.detail, observation.at)
        same = observation.says_the_same(self.observations[-1])
        seen = seen.with_observation(observation)
        if self.plan is None or not same:
            # A plan needs an observation that is fresher than the description of the group.
            return seen, TakeSnapshot(observation.at)
        return seen, seen.wait(self.plan, observation.at)

    def after_registration(self, done: Iterable[Change], at: float) -> "RunState":
        """Take in that these targets were registered."""
        done = tuple(done)
        return replace(
            self,
            registered=(*self.registered, *done),
            registered_now=self.registered_now.union(v.target for v in done),
            registered_at=at,
            failures_in_a_row=0,
        )

    def after_deregistration(self, done: Iterable[Change]) -> "RunState":
        """Take in that these targets were deregistered."""
        done = tuple(done)
        removed = {v.target for v in done}
        return replace(
            self,
            deregistered=(*self.deregistered, *done),
            registered_now=self.registered_now - removed,
            registered_since={t: s for t, s in self.registered_since.items() if t not in removed},
            absent_since={**self.absent_since, **dict.fromkeys(removed, self.described_at)},
            failures_in_a_row=0,
        )

    def after_change(self, applied: Apply) -> Step:
        """What follows a plan that was applied: as a rule a look, to see what came of it.

        Who does not wait for health and has registered alone sees it at the look that has to come
        before anything is removed, and until then polls.
        """
        task, at, due = self.run_config, applied.next_snapshot_at, applied.plan.confirmation_due_at
        if task.wait_for_healthy or applied.plan.to_deregister or due is None:
            return TakeSnapshot(at)
        return (
            PollDns(at) if at < due < task.deadline - task.iteration_seconds else TakeSnapshot(at)
        )

    def after_failure(self, detail: str, at: float) -> tuple["RunState", Step]:
        """Take in that a look, a poll or a change failed in a way that may pass.

        A run that an event told to keep looking, or that keeps a vigil, does so until that ends;
        one that has found something to do goes on as if an event had told it. Any other run
        fails at once: the next one is a minute away, and the alarm must hear of it.
        """
        in_a_row = self.failures_in_a_row + 1
        failed = replace(
            self,
            failure=Failure(detail, at),
            failures=self.failures + 1,
            failures_in_a_row=in_a_row,
        )
        pause = min(self.run_config.iteration_seconds * 2 ** (in_a_row - 1), LONGEST_PAUSE_SECONDS)
        patient_until = max(self._armed_until, self.run_config.poll_until)
        if at + pause < min(patient_until, self.run_config.deadline):
            return failed, TakeSnapshot(at + pause)
        return failed, Done(RunStatus.FAILED)

    def with_snapshot(self, snapshot: Snapshot) -> "RunState":
        """Remember what the group was at this look, and at the first one."""
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
        """Remember what the endpoint said."""
        return replace(
            self,
            observations=_remembered(self.observations, observation),
            failure=None,
        )

    def with_plan(self, plan: Plan, now: float) -> "RunState":
        """Note the moments: when something was detected, when it was right, when healthy."""
        found = not plan.is_complete or self.addresses_changed or self._contested
        detected_at = _first(self.detected_at, now, found)
        healthy = self.healthy
        return replace(
            self,
            detected_at=detected_at,
            healthy_at=_since(self.healthy_at, now, healthy and detected_at is not None),
            in_sync_since=_since(self.in_sync_since, now, healthy and plan.is_complete),
        )

    @property
    def _contested(self) -> bool:
        return bool(self.observations[-1].contested)

    @property
    def _armed_until(self) -> float:
        """Until when this run watches: because of an event, or of what it has found itself."""
        task = self.run_config
        if self.detected_at is None:
            return task.watch_until
        return max(task.watch_until, self.detected_at + task.watch_seconds)

    def next_step(self, plan: Plan, now: float) -> Step:
        """Decide what follows from the plan of the look that was just taken in."""
        if self.run_config.dry_run:
            return Done(RunStatus.DRY_RUN)
        if plan.has_calls and now < self.run_config.deadline:
            return Apply(plan, now + self.run_config.iteration_seconds)
        return self.wait(plan, now)

    def wait(self, plan: Plan, now: float) -> Step:
        """Poll or look again while that is worth while, else be done."""
        task = self.run_config
        until = self._stay_until(plan, now)
        at = now + task.iteration_seconds
        if at < until:
            return TakeSnapshot(at) if at >= self._snapshot_due_at(plan) else PollDns(at)
        if now + task.dns_poll_seconds < min(task.poll_until, task.deadline):
            return PollDns(now + task.dns_poll_seconds)
        return Done(self._status(plan))

    def _snapshot_due_at(self, plan: Plan) -> float:
        """When the group has to be described again, as long as the answer stays what it is.

        Who does not wait for health saves a description shortly before the one that a
        confirmation needs anyway.
        """
        task, due = self.run_config, plan.confirmation_due_at
        stale_at = self.described_at + DESCRIBE_SECONDS
        if due is None:
            return stale_at
        if not task.wait_for_healthy and due < stale_at + 2 * task.iteration_seconds:
            return due
        return min(due, stale_at)

    def _stay_until(self, plan: Plan, now: float) -> float:
        """Until when it is worth observing every second, seen from this plan."""
        task = self.run_config
        due = plan.confirmation_due_at
        if due is not None and due < task.deadline:
            return task.deadline
        wait = task.wait_for_healthy
        if self.changed and wait and not self.healthy and not plan.vetoes:
            return min(max(task.watch_until, self._healthy_by), task.deadline)
        if self._contested:
            # A dispute is the beginning or the end of a failover, announced or not.
            return min(self._armed_until, task.deadline)
        followed = (self.registered or self.addresses_moved) and not self.sources_disagree
        if (followed and (self.healthy or not wait)) or self._stable_after_change(now):
            return now
        return min(task.watch_until, task.deadline)

    @property
    def _healthy_by(self) -> float:
        """Until when a run that changed something waits for health."""
        since = self.detected_at if self.registered_at is None else self.registered_at
        return (since or 0.0) + HEALTHY_WITHIN_SECONDS

    def _stable_after_change(self, now: float) -> bool:
        return (
            self.run_config.change_completed
            and self.in_sync_since is not None
            and now >= self.in_sync_since + STABLE_SECONDS
            and not self.sources_disagree
        )

    def _status(self, plan: Plan) -> RunStatus:
        if plan.vetoes:
            return RunStatus.VETOED
        if not plan.is_complete or plan.has_unknowns or self.sources_disagree:
            return RunStatus.UNFINISHED
        if not self.changed:
            return RunStatus.IN_SYNC
        if self.run_config.wait_for_healthy and not self.healthy:
            return RunStatus.UNHEALTHY
        return RunStatus.SYNCED


def _first(before: float | None, now: float, holds: bool) -> float | None:  # noqa: FBT001
    """When something was so for the first time."""
    return now if before is None and holds else before


def _since(before: float | None, now: float, holds: bool) -> float | None:  # noqa: FBT001
    """Since when something has been so without a break."""
    if not holds:
        return None
    return now if before is None else before


def _remembered(
    observations: tuple[Observation, ...], newest: Observation
) -> tuple[Observation, ...]:
    """The observations with the newest one: of a series that says the same, its two ends.

    Every rule asks only how long a series has lasted, and for the longest TTL.
    """
    if len(observations) < 2 or not all(newest.says_the_same(o) for o in observations[-2:]):  # noqa: PLR2004 - the two ends
        return (*observations, newest)
    ttls = [o.ttl for o in (observations[-1], newest) if o.ttl is not None]
    return (*observations[:-1], replace(newest, ttl=max(ttls, default=None)))
