"""Carries out work items, one at a time for each group, with the loop of a single database."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from target_sync.errors import AwsNotFoundError, RateLimitExceededError, TargetSyncError
from target_sync.fleet.checkpoints import SigningKey, write_checkpoint
from target_sync.fleet.model import AUDIT_CURSOR_TAG, CHECKPOINT_TAG, Binding
from target_sync.fleet.ports import GroupTagsPort
from target_sync.fleet.rate_limiter import CallRateLimiter, RateLimitedTargetGroup
from target_sync.fleet.work_items import CursorWorkItem, SyncWorkItem, WorkItem
from target_sync.model import RunStatus
from target_sync.ports import Clock, Endpoint, TargetGroupPort
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.reconciler import RESERVE_SECONDS, Reconciler, RunReporter
from target_sync.reconcile.result import SyncResult
from target_sync.reconcile.triggers import SyncTrigger
from target_sync.triggers import TriggerKind

#: A worker does not wait for health: the next sweep comes soon, and the targets have alarms.
_TRIGGER = SyncTrigger(kind=TriggerKind.SCHEDULE, wait_for_healthy=False)
_IN_SYNC = frozenset({RunStatus.IN_SYNC, RunStatus.SYNCED})

#: The fields of a log record that name the subject of a work item.
LogContext: TypeAlias = Mapping[str, str]


class WorkerReporter(Protocol):
    """Logs the outcome of work items."""

    def for_run(self, context: LogContext) -> RunReporter:
        """Return the reporter of one run."""

    def report_failure(self, context: LogContext, error: Exception) -> None:
        """Log a permanent failure outside a run."""

    def report_retry(self, context: LogContext, error: Exception) -> None:
        """Log that a work item failed and is delivered again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Carries out work items.

    Attributes:
        target_group: Makes the target group of a binding, without a rate limit.
        tags: Writes tags, without a rate limit.
        rate_limiter: The call budget of both.
        endpoint: Makes the endpoint of a binding.
        key: The signing key of checkpoints.
    """

    clock: Clock
    target_group: Callable[[Binding], TargetGroupPort]
    tags: GroupTagsPort
    rate_limiter: CallRateLimiter
    endpoint: Callable[[Binding], Endpoint]
    reporter: WorkerReporter
    key: SigningKey

    def run_in_steps(
        self, work_item: WorkItem, remaining_seconds: float, *, redelivered: bool = False
    ) -> Iterator[float]:
        """Carry out a work item, and yield the times at which to continue.

        As with ``Reconciler.run_in_steps``, several runs can share a clock, and the caller can stop
        one at any step. SQS then delivers the work item again, and it continues from what was done.

        A permanent failure is reported and not raised: the next sweep finds the group again.

        Raises:
            TargetSyncError: The work item needs a retry.
        """
        deadline = self.clock.now() + remaining_seconds - RESERVE_SECONDS
        if isinstance(work_item, CursorWorkItem):
            steps = self._write(
                {"target_group": work_item.arn}, work_item.arn, AUDIT_CURSOR_TAG, work_item.cursor
            )
        else:
            steps = self._sync(work_item, deadline, redelivered=redelivered)
        with closing(steps):
            for at in steps:
                if at > deadline:
                    raise RateLimitExceededError(
                        f"no call for {work_item.arn} was possible in {remaining_seconds:.0f} s:"
                        " the fleet's share of calls is used up, or AWS throttles them"
                    )
                yield at

    def _sync(
        self, work_item: SyncWorkItem, deadline: float, *, redelivered: bool
    ) -> Generator[float, None, None]:
        group = RateLimitedTargetGroup(
            self.target_group(work_item.binding), self.rate_limiter, self.clock
        )
        context = {
            "target_group": work_item.arn,
            "endpoint": work_item.binding.endpoint,
            "reason": work_item.reason.value,
        }
        run = _CapturingReporter(self.reporter.for_run(context))
        steps = Reconciler(
            endpoint=self.endpoint(work_item.binding),
            target_group=group,
            policy=work_item.binding.policy,
            clock=self.clock,
            reporter=run,
            watch_seconds=0.0,
            rate_limiter=group,
        ).run_in_steps(_TRIGGER, remaining_seconds=deadline - self.clock.now(), age_seconds=0.0)
        failure: TargetSyncError | None = None
        try:
            yield from steps
        except TargetSyncError as error:
            failure = error
        checkpoint = self._checkpoint(work_item, run.result, failure)
        # The group's checkpoint may be newer than the work item's after a redelivery or a change.
        may_differ = redelivered or run.result.run.changed
        if checkpoint is not None and (checkpoint != work_item.checkpoint or may_differ):
            yield from self._write(context, work_item.arn, CHECKPOINT_TAG, checkpoint)
        if failure is not None and failure.retryable:
            raise failure

    def _checkpoint(
        self, work_item: SyncWorkItem, result: SyncResult, failure: TargetSyncError | None
    ) -> str | None:
        """Return the checkpoint to write after a run; None to leave the present one.

        It is empty if the group may not be in sync.
        """
        run = result.run
        if result.status in _IN_SYNC:
            return write_checkpoint(work_item.binding, run.observations[-1].addresses, self.key)
        if isinstance(failure, AwsNotFoundError):
            return None
        if failure is not None and failure.retryable and run.detected_at is None:
            # The run found no drift, and the work item is retried.
            return None
        return ""

    def _write(
        self, context: LogContext, arn: str, key: str, value: str
    ) -> Generator[float, None, None]:
        try:
            yield from self.rate_limiter.write_tag(self.tags, arn, key, value)
        except AwsNotFoundError:
            # Deleted after the listing. The sweep reports it if the listing still has it.
            return
        except TargetSyncError as error:
            if error.retryable:
                raise
            self.reporter.report_failure(context, error)


class _CapturingReporter:
    """Implements ``target_sync.reconcile.reconciler.RunReporter``, and keeps the result."""

    def __init__(self, reporter: RunReporter) -> None:
        self._reporter = reporter
        self._results = list[SyncResult]()

    @property
    def result(self) -> SyncResult:
        """The result of the run, once it has ended."""
        (result,) = self._results
        return result

    def report_iteration(self, run: RunState) -> None:
        self._reporter.report_iteration(run)

    def report(self, result: SyncResult) -> None:
        self._results.append(result)
        self._reporter.report(result)
