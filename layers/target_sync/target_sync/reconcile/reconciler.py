"""The sequence of a run: take a snapshot, plan, apply, notify, report."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from target_sync.errors import AwsCallError, TargetSyncError
from target_sync.model import (
    FailedObservation,
    Observation,
    RunStatus,
    StandbyCheck,
    SyncPolicy,
    TargetGroup,
    undesired_targets,
)
from target_sync.ports import Clock, Endpoint, RateLimiter, Reporter, Standbys, TargetGroupPort
from target_sync.reconcile.loop import (
    Apply,
    Done,
    Next,
    PollDns,
    RunConfig,
    RunState,
    Snapshot,
    Step,
    TakeSnapshot,
)
from target_sync.reconcile.result import SwitchReport, SyncResult
from target_sync.reconcile.tracks import Tracks
from target_sync.reconcile.triggers import SyncTrigger
from target_sync.targets.switch_proof import ProofReport, SwitchProof
from target_sync.targets.warm_pool import WarmPool

#: The time kept for the last call with its retries, and for the report.
RESERVE_SECONDS = 15.0
#: The interval of scheduled runs (template.yaml, EveryMinute).
SCHEDULE_SECONDS = 60.0

_T = TypeVar("_T")


class RunReporter(Reporter[SyncResult], Protocol):
    """Writes runs, and at level DEBUG each iteration of a run."""

    def report_iteration(self, run: RunState) -> None:
        """Log the last iteration of the run in detail."""


class Notifier(Protocol):
    """Notifies people and programs about a run."""

    def notify(self, result: SyncResult, *, changed_ago: float) -> tuple[str, ...]:
        """Notify each recipient at most once, and return a sentence for each failure.

        ``changed_ago`` is in seconds, since the last change of the group or the end of the run.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Keeps one target group equal to the addresses of one endpoint.

    Attributes:
        watch_seconds: How long a run waits for a change that an event announced.
        dns_poll_seconds: The interval of DNS polls between two scheduled runs; 0 for no polls.
        standbys: Checks the addresses of a standby; None if no standby is kept.
        pool: The warm targets; None if the reconciler does not own the outbound rules.
        proof: Proves on request that closed targets get no traffic; None as the pool, and if no
            target is to be warm.
        notifier: Notifies people and programs; None for no notifications.
        rate_limiter: Delays calls on the group; None for no delay.
    """

    endpoint: Endpoint
    target_group: TargetGroupPort
    policy: SyncPolicy
    clock: Clock
    reporter: RunReporter
    watch_seconds: float
    dns_poll_seconds: float = 0.0
    standbys: Standbys | None = None
    pool: WarmPool | None = None
    proof: SwitchProof | None = None
    notifier: Notifier | None = None
    rate_limiter: RateLimiter | None = None

    def run(
        self, trigger: SyncTrigger, *, remaining_seconds: float, age_seconds: float
    ) -> SyncResult:
        """Reconcile until the group is in sync or the function's time is up.

        Raises:
            ObservationError: The endpoint gave no addresses, or access to it is denied.
            AwsCallError: A call on the target group failed.
        """
        steps = self.run_in_steps(
            trigger, remaining_seconds=remaining_seconds, age_seconds=age_seconds
        )
        return wait_for_each(steps, self.clock)

    def run_in_steps(
        self, trigger: SyncTrigger, *, remaining_seconds: float, age_seconds: float
    ) -> Generator[float, None, SyncResult]:
        """Run as ``run`` does, but yield the time of each wait instead of waiting.

        Tests drive many runs on one virtual clock this way, and stop a run between any two
        calls, as Lambda does at a time-out.
        """
        end = self.clock.now() + remaining_seconds
        proof = yield from self._prove_switch(trigger, end)
        config = self._run_config(trigger, end - self.clock.now())
        run = RunState(run_config=config, tracks=Tracks(policy=self.policy))
        step: Step = TakeSnapshot(config.started_at)
        result = SyncResult(
            status=RunStatus.FAILED,
            run=run,
            trigger=trigger,
            began_at=config.started_at - max(0.0, age_seconds),
        )
        try:
            while not isinstance(step, Done):
                run, step = yield from self._next(run, step)
        except Exception as error:
            # A bug must not cost the record and the metrics of the run.
            bug = TargetSyncError(f"The run ended with {type(error).__name__}: {error}")
            self.reporter.report(replace(result, run=replace(run, error=bug)))
            raise
        switch = SwitchReport(state=self.pool.state, proof=proof) if self.pool else None
        result = replace(result, status=step.status, run=run, switch=switch)
        # Notify first: the report includes the undelivered notifications.
        result = self._notify(result)
        self.reporter.report(result)
        if step.error is not None:
            raise step.error
        return result

    def _next(
        self, run: RunState, step: Apply | PollDns | TakeSnapshot
    ) -> Generator[float, None, Next]:
        """Do one step, and return the next one."""
        if isinstance(step, Apply):
            return (yield from self._apply(run, step))
        yield step.at
        if isinstance(step, PollDns):
            return self._refresh_pool(*run.after_dns_poll(self.endpoint.observe()))
        return self._refresh_pool(*(yield from self._take_snapshot(run)))

    def _prove_switch(
        self, trigger: SyncTrigger, end: float
    ) -> Generator[float, None, ProofReport | None]:
        """Try the proof, and leave time for the run after it."""
        if self.proof is None or not trigger.prove_switch or trigger.dry_run:
            return None
        return (yield from self.proof.prove_in_steps(end - 2 * RESERVE_SECONDS))

    def _refresh_pool(self, run: RunState, step: Step) -> Next:
        if self.pool is None or not run.needs_refresh(step):
            return run, step
        report = self.pool.refresh(run.tracks.desired)
        return (run, step) if report is None else run.after_refresh(report)

    def _notify(self, result: SyncResult) -> SyncResult:
        if self.notifier is None or not result.needs_notification:
            return result
        changed_at = result.run.registered_at
        ago = 0.0 if changed_at is None else self.clock.now() - changed_at
        return replace(
            result, undelivered_notifications=self.notifier.notify(result, changed_ago=ago)
        )

    def _run_config(self, trigger: SyncTrigger, remaining_seconds: float) -> RunConfig:
        now = self.clock.now()
        watches = trigger.announces_a_change
        polls_dns = trigger.is_scheduled and self.dns_poll_seconds > 0
        return RunConfig(
            started_at=now,
            deadline=now + remaining_seconds - RESERVE_SECONDS,
            watch_until=now + (self.watch_seconds if watches else 0.0),
            watch_seconds=self.watch_seconds if watches or trigger.is_scheduled else 0.0,
            # The next run may start a little late, so poll once more after it is due.
            poll_until=now + (SCHEDULE_SECONDS + self.dns_poll_seconds if polls_dns else 0.0),
            dns_poll_seconds=self.dns_poll_seconds,
            wait_for_healthy=trigger.wait_for_healthy,
            dry_run=trigger.dry_run,
        )

    def _take_snapshot(self, run: RunState) -> Generator[float, None, Next]:
        """Describe the group first, so that the observation is the fresher of the two."""
        if self.rate_limiter is not None:
            yield from self.rate_limiter.before_snapshot()
        try:
            group = self.target_group.describe()
        except AwsCallError as error:
            return run.after_failure(error, self.clock.now())
        yield self.clock.now()
        observation = self.endpoint.observe()
        snapshot = Snapshot(group, observation, self._standby_check(group, observation))
        run, step = run.after_snapshot(snapshot)
        self.reporter.report_iteration(run)
        return run, step

    def _standby_check(
        self, group: TargetGroup, observation: Observation | FailedObservation
    ) -> StandbyCheck | None:
        if self.standbys is None or isinstance(observation, FailedObservation):
            return None
        undesired = undesired_targets(group, observation, self.policy)
        if not undesired:
            return None
        return self.standbys.check(frozenset(t.address for t in undesired))

    def _apply(self, run: RunState, step: Apply) -> Generator[float, None, Next]:
        """Register first, and deregister only if every registration succeeded.

        A stale plan is discarded for a new snapshot.
        """
        plan = step.plan
        yield from self._wait_before_change()
        if run.is_stale(self.clock.now()):
            return run, TakeSnapshot(self.clock.now())
        try:
            if plan.to_register:
                self.target_group.register([c.target for c in plan.to_register])
                run = run.after_registration(plan.to_register, self.clock.now())
                if plan.to_deregister:
                    yield from self._wait_before_change()
            if plan.to_deregister and not run.is_stale(self.clock.now()):
                self.target_group.deregister([c.target for c in plan.to_deregister])
                run = run.after_deregistration(plan.to_deregister)
        except AwsCallError as error:
            return run.after_failure(error, self.clock.now())
        return run.after_change(plan)

    def _wait_before_change(self) -> Iterator[float]:
        """Wait for the rate limiter. The caller checks afterwards whether the plan is stale."""
        if self.rate_limiter is not None:
            yield from self.rate_limiter.before_change()
        yield self.clock.now()


def wait_for_each(steps: Generator[float, None, _T], clock: Clock) -> _T:
    """Continue at each time that the steps yield, and return their result."""
    while True:
        try:
            clock.sleep_until(next(steps))
        except StopIteration as end:
            result: _T = end.value
            return result
