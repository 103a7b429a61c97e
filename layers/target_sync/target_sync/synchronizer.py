"""The only sequencing: observe, decide, apply, report."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from target_sync.core.convergence import (
    Apply,
    Assignment,
    Convergence,
    Done,
    Look,
    LookAgain,
    Poll,
    Status,
    Step,
)
from target_sync.core.model import (
    FailedObservation,
    LookupFailure,
    Observation,
    StandbyCheck,
    SyncPolicy,
    TargetGroup,
)
from target_sync.core.planning import targets_outside
from target_sync.core.ports import Clock, Endpoint, Pace, Standbys, TargetGroupPort
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
#: Between two scheduled runs (template.yaml, EveryMinute).
SCHEDULE_SECONDS = 60.0


#: What a step leaves behind: the run so far, the next step, and the error of this one.
_Taken: TypeAlias = tuple[Convergence, Step, TargetSyncError | None]
#: The same, after waits in between.
_Course: TypeAlias = Generator[float, None, _Taken]


class Reporter(Protocol):
    """Where the result of a run goes, beside the caller."""

    def looked(self, convergence: Convergence) -> None:
        """Take note of one look; for whoever has to find out why a run did what it did."""
        ...

    def report(self, result: SyncResult) -> None:
        """Write the one record of this run."""
        ...


class Teller(Protocol):
    """Whom and what to tell of a run that has news."""

    def tell(self, result: SyncResult, *, changed_ago: float) -> tuple[str, ...]:
        """Tell it, at most once, and answer with what may have reached nobody.

        Args:
            result: A run that has news.
            changed_ago: Seconds since the group was changed, or else since the run ended.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Synchronizer:
    """Keeps one target group equal to what one endpoint says.

    Attributes:
        watch_seconds: How long a run keeps looking for what an event announced.
        poll_seconds: Time between two polls of a scheduled run until the next one starts; 0 if
            it is over once all is right.
        standbys: Who knows the addresses of a standby; None if none is kept.
        teller: Who tells people and programs; None for nobody.
        pace: Who says when calls on the group may go; None if they always may.
    """

    endpoint: Endpoint
    target_group: TargetGroupPort
    policy: SyncPolicy
    clock: Clock
    reporter: Reporter
    watch_seconds: float
    poll_seconds: float = 0.0
    standbys: Standbys | None = None
    teller: Teller | None = None
    pace: Pace | None = None

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
        course = self.course(trigger, remaining_seconds=remaining_seconds, age_seconds=age_seconds)
        while True:
            try:
                self.clock.sleep_until(next(course))
            except StopIteration as ended:
                result: SyncResult = ended.value
                return result

    def course(
        self, trigger: Trigger, *, remaining_seconds: float, age_seconds: float
    ) -> Generator[float, None, SyncResult]:
        """The run as a course of waits: each value is the moment at which it is to go on.

        So many runs can share one virtual clock, take turns between any two of their calls, and
        be abandoned in the middle, as Lambda abandons a function whose time is up. ``run`` is
        this with a real wait; arguments and errors are the same.
        """
        convergence = Convergence(
            assignment=self._assignment(trigger, remaining_seconds), policy=self.policy
        )
        began_at = convergence.assignment.started_at - max(0.0, age_seconds)
        error: TargetSyncError | None = None
        step: Step = LookAgain(convergence.assignment.started_at)
        while not isinstance(step, Done):
            if isinstance(step, Apply):
                convergence, step, error = yield from self._apply(convergence, step)
            elif isinstance(step, Poll):
                yield step.at
                convergence, step, error = self._poll(convergence)
            else:
                yield step.at
                convergence, step, error = yield from self._look(convergence)
        result = SyncResult(
            status=step.status,
            convergence=convergence,
            trigger=trigger.to_document(),
            began_at=began_at,
        )
        result = self._told(result)
        self.reporter.report(result)
        if error is not None:
            raise error
        return result

    def _told(self, result: SyncResult) -> SyncResult:
        """Tell before the report, so that the one record says whether it was told."""
        if self.teller is None or not result.is_news:
            return result
        changed_at = result.convergence.registered_at
        ago = 0.0 if changed_at is None else self.clock.now() - changed_at
        return replace(result, untold=self.teller.tell(result, changed_ago=ago))

    def _assignment(self, trigger: Trigger, remaining_seconds: float) -> Assignment:
        now = self.clock.now()
        watches = trigger.announces_a_change
        keeps_vigil = trigger.is_scheduled and self.poll_seconds > 0
        return Assignment(
            started_at=now,
            deadline=now + remaining_seconds - RESERVE_SECONDS,
            watch_until=now + (self.watch_seconds if watches else 0.0),
            watch_seconds=self.watch_seconds if watches or trigger.is_scheduled else 0.0,
            settles=trigger.completes_a_change,
            # One poll longer than until the next run is due, which may start a little late.
            vigil_until=now + (SCHEDULE_SECONDS + self.poll_seconds if keeps_vigil else 0.0),
            poll_seconds=self.poll_seconds,
            wait_for_healthy=trigger.wait_for_healthy,
            dry_run=trigger.dry_run,
        )

    def _look(self, convergence: Convergence) -> _Course:
        """Describe the group first, so that the observation is the fresher of the two."""
        if self.pace is not None:
            yield from self.pace.before_look()
        try:
            group = self.target_group.describe()
        except TargetGroupError as error:
            return self._after_error(convergence, error)
        yield self.clock.now()
        observation = self.endpoint.observe()
        look = Look(group, observation, self._standby_check(group, observation))
        convergence, step = convergence.after_look(look)
        self.reporter.looked(convergence)
        return _taken(convergence, step, observation)

    def _standby_check(
        self, group: TargetGroup, observation: Observation | FailedObservation
    ) -> StandbyCheck | None:
        """Ask only about targets that are there and that the answer does not explain."""
        if self.standbys is None or isinstance(observation, FailedObservation):
            return None
        outside = targets_outside(group, observation, self.policy)
        if not outside:
            return None
        return self.standbys.check(frozenset(t.address for t in outside))

    def _poll(self, convergence: Convergence) -> _Taken:
        observation = self.endpoint.observe()
        convergence, step = convergence.after_poll(observation)
        return _taken(convergence, step, observation)

    def _apply(self, convergence: Convergence, step: Apply) -> _Course:
        """Register first; deregister only when every registration has succeeded.

        A plan that has become old, after a slow call or a frozen container, is made anew.
        """
        plan = step.plan
        yield from self._turn_to_change()
        if convergence.is_stale(self.clock.now()):
            return convergence, LookAgain(self.clock.now()), None
        try:
            if plan.to_register:
                self.target_group.register([v.target for v in plan.to_register])
                convergence = convergence.after_registration(plan.to_register, self.clock.now())
                if plan.to_deregister:
                    yield from self._turn_to_change()
            if plan.to_deregister and not convergence.is_stale(self.clock.now()):
                self.target_group.deregister([v.target for v in plan.to_deregister])
                convergence = convergence.after_deregistration(plan.to_deregister)
        except TargetGroupError as error:
            return self._after_error(convergence, error)
        return convergence, convergence.after_change(step), None

    def _turn_to_change(self) -> Iterator[float]:
        """Wait before the plan is found fresh or stale, so that none gets old in waiting."""
        if self.pace is not None:
            yield from self.pace.before_change()
        yield self.clock.now()

    def _after_error(self, convergence: Convergence, error: TargetGroupError) -> _Taken:
        convergence, step = convergence.after_failure(str(error), self.clock.now())
        return convergence, _after(error, step), error


def _taken(
    convergence: Convergence, step: Step, observation: Observation | FailedObservation
) -> _Taken:
    if not isinstance(observation, FailedObservation):
        return convergence, step, None
    denied = observation.failure is LookupFailure.ACCESS_DENIED
    error = (ObservationDeniedError if denied else ObservationError)(observation.detail)
    return convergence, _after(error, step), error


def _after(error: TargetSyncError, step: Step) -> Step:
    """The step after an error: looking again helps only against one that may pass."""
    return step if error.retryable else Done(Status.FAILED)
