"""The only sequencing: observe, decide, apply, report."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from target_sync.core.convergence import (
    Apply,
    Assignment,
    Convergence,
    Done,
    Look,
    LookAgain,
    Status,
    Step,
)
from target_sync.core.model import FailedObservation, LookupFailure, SyncPolicy
from target_sync.core.ports import Clock, Endpoint, TargetGroupPort
from target_sync.core.result import SyncResult
from target_sync.errors import (
    ObservationDeniedError,
    ObservationError,
    TargetGroupError,
    TargetSyncError,
)
from target_sync.triggers import Trigger

#: Seconds kept back at the end of a function's time: the last call with all its retries, and
#: the report.
RESERVE_SECONDS = 15.0


#: What a step leaves behind: the run so far, the next step, and the error of this one.
_Taken: TypeAlias = tuple[Convergence, Step, TargetSyncError | None]


class Reporter(Protocol):
    """Where the result of a run goes, beside the caller."""

    def looked(self, convergence: Convergence) -> None:
        """Take note of one look; for whoever has to find out why a run did what it did."""
        ...

    def report(self, result: SyncResult) -> None:
        """Write the one record of this run."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Synchronizer:
    """Keeps one target group equal to what one endpoint says."""

    endpoint: Endpoint
    target_group: TargetGroupPort
    policy: SyncPolicy
    clock: Clock
    reporter: Reporter
    watch_seconds: float

    def run(self, trigger: Trigger, *, remaining_seconds: float, age_seconds: float) -> SyncResult:
        """Converge.

        Args:
            trigger: What set this run off.
            remaining_seconds: The time that the function has left.
            age_seconds: How long ago the trigger occurred.

        Raises:
            ObservationError: The endpoint gave no addresses, or may not be looked at.
            TargetGroupError: A call on the target group failed.
        """
        convergence = Convergence(
            assignment=self._assignment(trigger, remaining_seconds), policy=self.policy
        )
        began_at = convergence.assignment.started_at - max(0.0, age_seconds)
        error: TargetSyncError | None = None
        step: Step = LookAgain(convergence.assignment.started_at)
        while not isinstance(step, Done):
            if isinstance(step, LookAgain):
                self.clock.sleep_until(step.at)
                convergence, step, error = self._look(convergence)
            else:
                convergence, step, error = self._apply(convergence, step)
        result = SyncResult(
            status=step.status,
            convergence=convergence,
            trigger=trigger.to_document(),
            began_at=began_at,
        )
        self.reporter.report(result)
        if error is not None:
            raise error
        return result

    def _assignment(self, trigger: Trigger, remaining_seconds: float) -> Assignment:
        now = self.clock.now()
        watch = self.watch_seconds if trigger.announces_a_change else 0.0
        return Assignment(
            started_at=now,
            deadline=now + remaining_seconds - RESERVE_SECONDS,
            watch_until=now + watch,
            wait_for_healthy=trigger.wait_for_healthy,
            dry_run=trigger.dry_run,
        )

    def _look(self, convergence: Convergence) -> _Taken:
        """Describe the group first, so that the observation is the fresher of the two."""
        try:
            group = self.target_group.describe()
        except TargetGroupError as error:
            return self._after_error(convergence, error)
        look = Look(group, self.endpoint.observe())
        convergence, step = convergence.after_look(look)
        self.reporter.looked(convergence)
        if isinstance(look.observation, FailedObservation):
            failed = _observation_error(look.observation)
            return convergence, _after(failed, step), failed
        return convergence, step, None

    def _apply(self, convergence: Convergence, step: Apply) -> _Taken:
        """Register first; deregister only when every registration has succeeded."""
        plan = step.plan
        try:
            if plan.to_register:
                self.target_group.register([v.target for v in plan.to_register])
                convergence = convergence.after_registration(plan.to_register, self.clock.now())
            if plan.to_deregister:
                self.target_group.deregister([v.target for v in plan.to_deregister])
                convergence = convergence.after_deregistration(plan.to_deregister)
        except TargetGroupError as error:
            return self._after_error(convergence, error)
        return convergence, LookAgain(step.look_again_at), None

    def _after_error(self, convergence: Convergence, error: TargetGroupError) -> _Taken:
        convergence, step = convergence.after_failure(str(error), self.clock.now())
        return convergence, _after(error, step), error


def _observation_error(observation: FailedObservation) -> ObservationError:
    denied = observation.failure is LookupFailure.ACCESS_DENIED
    return (ObservationDeniedError if denied else ObservationError)(observation.detail)


def _after(error: TargetSyncError, step: Step) -> Step:
    """The step after an error: looking again helps only against one that may pass."""
    return step if error.retryable else Done(Status.FAILED)
