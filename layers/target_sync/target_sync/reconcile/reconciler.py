"""The only sequencing: observe, decide, apply, report."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from target_sync.errors import (
    AwsCallError,
    ObservationDeniedError,
    ObservationError,
    TargetSyncError,
)
from target_sync.model import (
    FailedObservation,
    LookupFailure,
    Observation,
    RunStatus,
    StandbyCheck,
    SyncPolicy,
    TargetGroup,
    undesired_targets,
)
from target_sync.ports import Clock, Endpoint, RateLimiter, Standbys, TargetGroupPort
from target_sync.reconcile.loop import (
    Apply,
    Done,
    PollDns,
    RunConfig,
    RunState,
    Snapshot,
    Step,
    TakeSnapshot,
)
from target_sync.reconcile.result import SyncResult
from target_sync.reconcile.triggers import Trigger

#: Seconds kept back at the end of a function's time: the last call with all its retries, and
#: the report.
RESERVE_SECONDS = 15.0
#: Between two scheduled runs (template.yaml, EveryMinute).
SCHEDULE_SECONDS = 60.0


#: What a step leaves behind: the run so far, the next step, and the error of this one.
_Taken: TypeAlias = tuple[RunState, Step, TargetSyncError | None]
#: The same, after waits in between.
_Course: TypeAlias = Generator[float, None, _Taken]


class Reporter(Protocol):
    """Where the result of a run goes, beside the caller."""

    def report_iteration(self, run: RunState) -> None:
        """Take note of one look; for whoever has to find out why a run did what it did."""
        ...

    def report(self, result: SyncResult) -> None:
        """Write the one record of this run."""
        ...


class Notifier(Protocol):
    """Whom and what to tell of a run that has news."""

    def notify(self, result: SyncResult, *, changed_ago: float) -> tuple[str, ...]:
        """Tell it, at most once, and answer with what may have reached nobody.

        Args:
            result: A run that has news.
            changed_ago: Seconds since the group was changed, or else since the run ended.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
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
    dns_poll_seconds: float = 0.0
    standbys: Standbys | None = None
    notifier: Notifier | None = None
    rate_limiter: RateLimiter | None = None

    def run(self, trigger: Trigger, *, remaining_seconds: float, age_seconds: float) -> SyncResult:
        """Converge.

        Args:
            trigger: What set this run off.
            remaining_seconds: The time that the function has left.
            age_seconds: How long ago the trigger occurred.

        Raises:
            ObservationError: The endpoint gave no addresses, or may not be looked at.
            AwsCallError: A call on the target group failed.
        """
        run_in_steps = self.run_in_steps(
            trigger, remaining_seconds=remaining_seconds, age_seconds=age_seconds
        )
        while True:
            try:
                self.clock.sleep_until(next(run_in_steps))
            except StopIteration as ended:
                result: SyncResult = ended.value
                return result

    def run_in_steps(
        self, trigger: Trigger, *, remaining_seconds: float, age_seconds: float
    ) -> Generator[float, None, SyncResult]:
        """The run as a course of waits: each value is the moment at which it is to go on.

        So many runs can share one virtual clock, take turns between any two of their calls, and
        be abandoned in the middle, as Lambda abandons a function whose time is up. ``run`` is
        this with a real wait; arguments and errors are the same.
        """
        run = RunState(run_config=self._assignment(trigger, remaining_seconds), policy=self.policy)
        began_at = run.run_config.started_at - max(0.0, age_seconds)
        error: TargetSyncError | None = None
        step: Step = TakeSnapshot(run.run_config.started_at)
        while not isinstance(step, Done):
            if isinstance(step, Apply):
                run, step, error = yield from self._apply(run, step)
            elif isinstance(step, PollDns):
                yield step.at
                run, step, error = self._poll(run)
            else:
                yield step.at
                run, step, error = yield from self._look(run)
        result = SyncResult(
            status=step.status,
            run=run,
            trigger=trigger.to_document(),
            began_at=began_at,
        )
        result = self._notified(result)
        self.reporter.report(result)
        if error is not None:
            raise error
        return result

    def _notified(self, result: SyncResult) -> SyncResult:
        """Tell before the report, so that the one record says whether it was told."""
        if self.notifier is None or not result.is_notable:
            return result
        changed_at = result.run.registered_at
        ago = 0.0 if changed_at is None else self.clock.now() - changed_at
        return replace(
            result, undelivered_notifications=self.notifier.notify(result, changed_ago=ago)
        )

    def _assignment(self, trigger: Trigger, remaining_seconds: float) -> RunConfig:
        now = self.clock.now()
        watches = trigger.announces_a_change
        polls_dns = trigger.is_scheduled and self.dns_poll_seconds > 0
        return RunConfig(
            started_at=now,
            deadline=now + remaining_seconds - RESERVE_SECONDS,
            watch_until=now + (self.watch_seconds if watches else 0.0),
            watch_seconds=self.watch_seconds if watches or trigger.is_scheduled else 0.0,
            change_completed=trigger.completes_a_change,
            # One poll longer than until the next run is due, which may start a little late.
            poll_until=now + (SCHEDULE_SECONDS + self.dns_poll_seconds if polls_dns else 0.0),
            dns_poll_seconds=self.dns_poll_seconds,
            wait_for_healthy=trigger.wait_for_healthy,
            dry_run=trigger.dry_run,
        )

    def _look(self, run: RunState) -> _Course:
        """Describe the group first, so that the observation is the fresher of the two."""
        if self.rate_limiter is not None:
            yield from self.rate_limiter.before_snapshot()
        try:
            group = self.target_group.describe()
        except AwsCallError as error:
            return self._after_error(run, error)
        yield self.clock.now()
        observation = self.endpoint.observe()
        look = Snapshot(group, observation, self._standby_check(group, observation))
        run, step = run.after_snapshot(look)
        self.reporter.report_iteration(run)
        return _taken(run, step, observation)

    def _standby_check(
        self, group: TargetGroup, observation: Observation | FailedObservation
    ) -> StandbyCheck | None:
        """Ask only about targets that are there and that the answer does not explain."""
        if self.standbys is None or isinstance(observation, FailedObservation):
            return None
        outside = undesired_targets(group, observation, self.policy)
        if not outside:
            return None
        return self.standbys.check(frozenset(t.address for t in outside))

    def _poll(self, run: RunState) -> _Taken:
        observation = self.endpoint.observe()
        run, step = run.after_dns_poll(observation)
        return _taken(run, step, observation)

    def _apply(self, run: RunState, step: Apply) -> _Course:
        """Register first; deregister only when every registration has succeeded.

        A plan that has become old, after a slow call or a frozen container, is made anew.
        """
        plan = step.plan
        yield from self._wait_to_change()
        if run.is_stale(self.clock.now()):
            return run, TakeSnapshot(self.clock.now()), None
        try:
            if plan.to_register:
                self.target_group.register([v.target for v in plan.to_register])
                run = run.after_registration(plan.to_register, self.clock.now())
                if plan.to_deregister:
                    yield from self._wait_to_change()
            if plan.to_deregister and not run.is_stale(self.clock.now()):
                self.target_group.deregister([v.target for v in plan.to_deregister])
                run = run.after_deregistration(plan.to_deregister)
        except AwsCallError as error:
            return self._after_error(run, error)
        return run, run.after_change(step), None

    def _wait_to_change(self) -> Iterator[float]:
        """Wait before the plan is found fresh or stale, so that none gets old in waiting."""
        if self.rate_limiter is not None:
            yield from self.rate_limiter.before_change()
        yield self.clock.now()

    def _after_error(self, run: RunState, error: AwsCallError) -> _Taken:
        run, step = run.after_failure(str(error), self.clock.now())
        return run, _after(error, step), error


def _taken(run: RunState, step: Step, observation: Observation | FailedObservation) -> _Taken:
    if not isinstance(observation, FailedObservation):
        return run, step, None
    denied = observation.failure is LookupFailure.ACCESS_DENIED
    error = (ObservationDeniedError if denied else ObservationError)(observation.detail)
    return run, _after(error, step), error


def _after(error: TargetSyncError, step: Step) -> Step:
    """The step after an error: looking again helps only against one that may pass."""
    return step if error.retryable else Done(RunStatus.FAILED)
