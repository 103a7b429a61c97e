"""Runs for single groups: the loop of one database, within the fleet's call budget."""

from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from target_sync.errors import TargetSyncError
from target_sync.fleet.model import Binding
from target_sync.fleet.planner import PlannedRun
from target_sync.fleet.rate_limiter import CallRateLimiter, RateLimitedTargetGroup
from target_sync.ports import Clock, Endpoint, TargetGroupPort
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

#: The fields of a log record that name the group.
LogContext: TypeAlias = Mapping[str, str]


class FleetReporter(Protocol):
    """Logs the runs of a fleet."""

    def for_run(self, context: LogContext) -> RunReporter:
        """Return the reporter of one run."""

    def report_bug(self, context: LogContext, error: BaseException) -> None:
        """Log a run that ended with an unexpected exception."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRuns:
    """Makes the runs.

    Attributes:
        target_group: Makes the target group of a binding, without a rate limit.
        endpoint: Makes the endpoint of a binding.
        rate_limiter: The call budget of all runs.
    """

    clock: Clock
    target_group: Callable[[Binding], TargetGroupPort]
    endpoint: Callable[[Binding], Endpoint]
    rate_limiter: CallRateLimiter
    reporter: FleetReporter

    def begin(self, planned: PlannedRun) -> Generator[float, None, SyncResult]:
        """Reconcile a group, and yield the times at which to continue.

        As with ``Reconciler.run_in_steps``, several runs can share a clock, and the caller can stop
        one at any step. A failure is in the result. The caller reports it, because the reporter is
        not made for several threads. Clients are not made in several threads either, so this method
        makes the adapters, and not the first step.
        """
        binding = planned.binding
        endpoint, group = self.endpoint(binding), self.target_group(binding)
        limited = RateLimitedTargetGroup(group, self.rate_limiter, self.clock)
        run = _Result(self.reporter.for_run(context_of(planned)))
        reconciler = Reconciler(
            endpoint=endpoint,
            target_group=limited,
            policy=binding.policy,
            clock=self.clock,
            reporter=run,
            watch_seconds=_RETRY_SECONDS,
            rate_limiter=limited,
        )
        return self._steps(reconciler, run)

    def _steps(self, reconciler: Reconciler, run: "_Result") -> Generator[float, None, SyncResult]:
        # The result has the message of the error.
        with suppress(TargetSyncError):
            yield from reconciler.run_in_steps(
                _TRIGGER, remaining_seconds=RUN_SECONDS, age_seconds=0.0
            )
        return run.result

    def report(self, planned: PlannedRun, result: SyncResult) -> None:
        """Log the result of a run."""
        self.reporter.for_run(context_of(planned)).report(result)

    def report_bug(self, planned: PlannedRun, error: BaseException) -> None:
        """Log a run that ended with an unexpected exception."""
        self.reporter.report_bug(context_of(planned), error)


class _Result:
    """Implements ``RunReporter``: keeps the result, and logs iterations."""

    result: SyncResult

    def __init__(self, reporter: RunReporter) -> None:
        self._reporter = reporter

    def report_iteration(self, run: RunState) -> None:
        self._reporter.report_iteration(run)

    def report(self, result: SyncResult) -> None:
        self.result = result


def context_of(planned: PlannedRun) -> LogContext:
    """Return the log context of a run."""
    return {
        "target_group": planned.binding.arn,
        "endpoint": planned.binding.endpoint,
        "reason": planned.reason.value,
    }
