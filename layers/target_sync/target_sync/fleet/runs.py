"""Runs for single groups: the loop of one database, within the fleet's call budget."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field

from target_sync.errors import TargetSyncError
from target_sync.fleet.model import Binding
from target_sync.fleet.planner import PlannedRun
from target_sync.fleet.rate_limiter import CallRateLimiter, RateLimitedTargetGroup
from target_sync.ports import Clock, Endpoint, LogRecord, TargetGroupPort
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.reconciler import Reconciler, RunReporter
from target_sync.reconcile.result import SyncResult
from target_sync.reconcile.triggers import SyncTrigger
from target_sync.triggers import TriggerKind

#: A run does not wait for health: the targets have alarms.
_TRIGGER = SyncTrigger(kind=TriggerKind.SCHEDULE, wait_for_healthy=False)
#: The time of a run. It outlasts the confirm window of a TTL of 5 minutes.
RUN_SECONDS = 345.0
#: How long a run retries after failures once it has detected a change.
_RETRY_SECONDS = 30.0


@dataclass(slots=True)
class GroupRun:
    """A run that has begun. It is its own ``RunReporter``, which keeps the result.

    Several runs can share a clock, and the caller can stop one at any step.

    Attributes:
        reporter: Logs iterations. The caller logs the result, in one thread for all runs.
        steps: The times at which to continue.
    """

    planned: PlannedRun
    reporter: RunReporter
    steps: Generator[float, None, SyncResult] = field(init=False)
    _result: SyncResult = field(init=False)

    def next_step(self) -> float | SyncResult:
        """Do the next step; return when to continue, or the result, which has any failure."""
        try:
            return next(self.steps)
        except (StopIteration, TargetSyncError):
            return self._result

    def report_iteration(self, run: RunState) -> None:
        """Log an iteration."""
        self.reporter.report_iteration(run)

    def report(self, result: SyncResult) -> None:
        """Keep the result."""
        self._result = result


@dataclass(frozen=True, slots=True)
class RunBug:
    """The unexpected exception of a run, which counts as a failed run."""

    planned: PlannedRun
    error: BaseException

    def to_log_records(self) -> Iterable[LogRecord]:
        """Return the record of the run."""
        yield LogRecord(
            message="run ended with a bug",
            fields=self.planned.log_context,
            level="error",
            counts={"SyncFailed": 1},
            error=self.error,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRuns:
    """Makes the runs.

    Attributes:
        target_group: Makes the target group of a binding, without a rate limit.
        endpoint: Makes the endpoint of a binding.
        rate_limiter: The call budget of all runs.
        reporter: Makes the reporter of a run.
    """

    clock: Clock
    target_group: Callable[[Binding], TargetGroupPort]
    endpoint: Callable[[Binding], Endpoint]
    rate_limiter: CallRateLimiter
    reporter: Callable[[PlannedRun], RunReporter]

    def begin(self, planned: PlannedRun) -> GroupRun:
        """Return a run before its first step.

        This method makes the adapters, because clients are not made in several threads.
        """
        binding = planned.binding
        group = RateLimitedTargetGroup(self.target_group(binding), self.rate_limiter, self.clock)
        run = GroupRun(planned, self.reporter(planned))
        reconciler = Reconciler(
            endpoint=self.endpoint(binding),
            target_group=group,
            policy=binding.policy,
            clock=self.clock,
            reporter=run,
            watch_seconds=_RETRY_SECONDS,
            rate_limiter=group,
        )
        run.steps = reconciler.run_in_steps(
            _TRIGGER, remaining_seconds=RUN_SECONDS, age_seconds=0.0
        )
        return run
