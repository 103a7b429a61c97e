"""The loop as a state machine without I/O: given a look, it answers what to do next.

A *look* is one description of the target group followed by one observation of the endpoint.
The answer is one of three steps: apply a plan, look again at a time, or done. The caller owns
the clock, the waiting and the calls; this module only decides.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from target_sync.core.model import (
    FailedObservation,
    Observation,
    SyncPolicy,
    TargetGroup,
)
from target_sync.core.planning import Plan, Verdict, make_plan, wanted_targets


class Status(StrEnum):
    """How a run ended."""

    IN_SYNC = "in_sync"
    #: Changed by this run, and right; healthy too if the run was to wait for that.
    SYNCED = "synced"
    #: The group is right, but its targets had not become healthy when the time was up.
    UNHEALTHY = "unhealthy"
    #: Something is left to do that this run had no time to confirm or to apply, or the sources
    #: still disagree.
    UNFINISHED = "unfinished"
    #: A guard refused a phase of the plan.
    VETOED = "vetoed"
    DRY_RUN = "dry_run"
    #: The last look or change failed. The caller raises; nothing is reported as done.
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a run has to do.

    Attributes:
        started_at: When the run began.
        deadline: When it has to have ended, whatever is left.
        watch_until: Until when it keeps looking for a change that an event announced; equal
            to ``started_at`` if nothing was announced.
        wait_for_healthy: Whether a run that changed something stays until the right targets
            are healthy.
        dry_run: Plan once and change nothing.
        look_seconds: Time between two looks.
    """

    started_at: float
    deadline: float
    watch_until: float
    wait_for_healthy: bool = True
    dry_run: bool = False
    look_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """The group as described, then the endpoint as observed: the observation is the fresher."""

    group: TargetGroup
    observation: Observation | FailedObservation


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed in a way that may pass."""

    detail: str
    at: float


@dataclass(frozen=True, slots=True)
class Apply:
    """Register, then deregister, what the plan says; then look again at the time given."""

    plan: Plan
    look_again_at: float


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Nothing to change now: look again at this time."""

    at: float


@dataclass(frozen=True, slots=True)
class Done:
    """The run is over."""

    status: Status


Step: TypeAlias = Apply | LookAgain | Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """What a run knows so far. Every method answers a new value and leaves this one alone.

    Attributes:
        observations: Every successful observation, oldest first.
        look: The last look; None before the first.
        plan: The plan made from it; None when the observation failed.
        looks: How many looks there were.
        registered: What this run has registered, and why.
        deregistered: What this run has deregistered, and why.
        detected_at: First look at which the answer had changed or the group was not right.
        registered_at: When the last registration of this run succeeded.
        healthy_at: Since when, after that, every right target has been healthy.
        failure: The failure of the last look or change, if it failed.
        failures: How many failures there were.
    """

    assignment: Assignment
    policy: SyncPolicy
    observations: tuple[Observation, ...] = ()
    look: Look | None = None
    plan: Plan | None = None
    looks: int = 0
    registered: tuple[Verdict, ...] = ()
    deregistered: tuple[Verdict, ...] = ()
    detected_at: float | None = None
    registered_at: float | None = None
    healthy_at: float | None = None
    failure: Failure | None = None
    failures: int = 0

    @property
    def changed(self) -> bool:
        """Whether this run has changed the group."""
        return bool(self.registered or self.deregistered)

    @property
    def answer_changed(self) -> bool:
        """Whether the endpoint's addresses changed while this run was looking."""
        return any(o.addresses != self.observations[0].addresses for o in self.observations)

    @property
    def disputed(self) -> bool:
        """Whether the newest answer is one on which its sources disagree."""
        return bool(self.observations and self.observations[-1].disagreement)

    @property
    def healthy(self) -> bool:
        """Whether every target that the newest answer asks for is registered and healthy."""
        if self.look is None or isinstance(self.look.observation, FailedObservation):
            return False
        wanted = wanted_targets(self.look.observation, self.policy)
        return bool(wanted) and self.look.group.healthy.issuperset(wanted)

    def after_look(self, look: Look) -> tuple["Convergence", Step]:
        """Take in a look and decide the next step."""
        observation = look.observation
        if isinstance(observation, FailedObservation):
            seen = replace(self, look=look, plan=None, looks=self.looks + 1)
            return seen.after_failure(observation.detail, observation.at)

        observations = (*self.observations, observation)
        plan = make_plan(look.group, observations, self.policy)
        seen = replace(
            self,
            observations=observations,
            look=look,
            plan=plan,
            looks=self.looks + 1,
            failure=None,
        )
        detected_at = self.detected_at
        if detected_at is None and (not plan.is_complete or seen.answer_changed):
            detected_at = observation.at
        healthy_at = None
        if detected_at is not None and seen.healthy:
            healthy_at = observation.at if self.healthy_at is None else self.healthy_at
        seen = replace(seen, detected_at=detected_at, healthy_at=healthy_at)
        return seen, seen.next_step(plan, observation.at)

    def after_registration(self, done: Iterable[Verdict], at: float) -> "Convergence":
        """Take in that these targets were registered."""
        return replace(self, registered=(*self.registered, *done), registered_at=at)

    def after_deregistration(self, done: Iterable[Verdict]) -> "Convergence":
        """Take in that these targets were deregistered."""
        return replace(self, deregistered=(*self.deregistered, *done))

    def after_failure(self, detail: str, at: float) -> tuple["Convergence", Step]:
        """Take in that a look or a change failed in a way that may pass.

        A run that an event told to keep looking does so until its watch ends. Any other run
        fails at once: the next one is a minute away, and the alarm must hear of it.
        """
        failed = replace(self, failure=Failure(detail, at), failures=self.failures + 1)
        next_look = at + self.assignment.look_seconds
        if next_look < min(self.assignment.watch_until, self.assignment.deadline):
            return failed, LookAgain(next_look)
        return failed, Done(Status.FAILED)

    def next_step(self, plan: Plan, now: float) -> Step:
        """Decide what follows from the plan of the look that was just taken in."""
        if self.assignment.dry_run:
            return Done(Status.DRY_RUN)
        next_look = now + self.assignment.look_seconds
        if plan.changes_something and now < self.assignment.deadline:
            return Apply(plan, next_look)
        if next_look < self._stay_until(plan, now):
            return LookAgain(next_look)
        return Done(self._status(plan))

    def _stay_until(self, plan: Plan, now: float) -> float:
        """Until when it is worth looking again, seen from this plan."""
        deadline = self.assignment.deadline
        due = plan.confirmation_due_at
        if due is not None and due < deadline:
            return deadline
        wait = self.assignment.wait_for_healthy
        if self.changed and wait and not self.healthy and not plan.vetoes:
            return deadline
        followed = (self.registered or self.answer_changed) and not self.disputed
        if followed and (self.healthy or not wait):
            return now
        return min(self.assignment.watch_until, deadline)

    def _status(self, plan: Plan) -> Status:
        if plan.vetoes:
            return Status.VETOED
        if not plan.is_complete or self.disputed:
            return Status.UNFINISHED
        if not self.changed:
            return Status.IN_SYNC
        if self.assignment.wait_for_healthy and not self.healthy:
            return Status.UNHEALTHY
        return Status.SYNCED
