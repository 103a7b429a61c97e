"""What a worker does: one order at a time for each group, by the same loop as for one database."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from target_sync.errors import AwsNotFoundError, RateLimitExceededError, TargetSyncError
from target_sync.fleet.checkpoints import SigningKey, write_checkpoint
from target_sync.fleet.model import AUDIT_TAG, RECORD_TAG, Binding
from target_sync.fleet.ports import GroupTagsPort
from target_sync.fleet.rate_limiter import CallRateLimiter, RateLimitedTags, RateLimitedTargetGroup
from target_sync.fleet.work_items import CursorWorkItem, SyncWorkItem, WorkItem
from target_sync.model import RunStatus
from target_sync.ports import Clock, Endpoint, TargetGroupPort
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.reconciler import RESERVE_SECONDS, Reconciler, RunReporter
from target_sync.reconcile.result import SyncResult
from target_sync.reconcile.triggers import SyncTrigger
from target_sync.triggers import TriggerKind

#: The next sweep follows by itself, and nobody waits for health: the targets' own alarms do.
_TRIGGER = SyncTrigger(kind=TriggerKind.SCHEDULE, wait_for_healthy=False)
_RIGHT = frozenset({RunStatus.IN_SYNC, RunStatus.SYNCED})

#: What an order is about, for the log.
LogContext: TypeAlias = Mapping[str, str]


class WorkerReporter(Protocol):
    """Where it is written what became of the orders."""

    def of(self, subject: LogContext) -> RunReporter:
        """Who writes the record of a run."""
        ...

    def failed(self, subject: LogContext, error: Exception) -> None:
        """Write that something failed for good, elsewhere than in a run."""
        ...

    def comes_again(self, subject: LogContext, error: Exception) -> None:
        """Write that an order was not carried out, and why."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Carries out orders.

    Attributes:
        target_group: The group of a binding, not paced.
        tags: What writes tags, not paced.
        pacer: What the calls of both are paid from.
        endpoint: How the database of a binding is observed.
        key: What the records are sealed with.
    """

    clock: Clock
    target_group: Callable[[Binding], TargetGroupPort]
    tags: GroupTagsPort
    rate_limiter: CallRateLimiter
    endpoint: Callable[[Binding], Endpoint]
    reports: WorkerReporter
    key: SigningKey

    def run_in_steps(
        self, order: WorkItem, remaining_seconds: float, *, again: bool = False
    ) -> Iterator[float]:
        """Carry out an order, as a course of the moments at which to go on.

        Like ``Reconciler.run_in_steps`` it shares a clock with others and may be abandoned
        anywhere: the order then comes again, and nothing that was done is in its way.

        A failure that will not pass is reported, and the order is done with: the sweep finds the
        group again for as long as it is listed.

        Args:
            order: What is to be done.
            remaining_seconds: The time that the function has left.
            again: Whether it has come before.

        Raises:
            TargetSyncError: The order has to come again.
        """
        until = self.clock.now() + remaining_seconds - RESERVE_SECONDS
        if isinstance(order, CursorWorkItem):
            work = self._mark(order)
        else:
            work = self._sync(order, until, again=again)
        with closing(work):
            for at in work:
                if at > until:
                    raise RateLimitExceededError(
                        f"no call for {order.arn} in {remaining_seconds:.0f} s: the fleet's share"
                        " is used up, or AWS has slowed it down"
                    )
                yield at

    def _mark(self, order: CursorWorkItem) -> Generator[float, None, None]:
        yield from self._write({"target_group": order.arn}, order.arn, AUDIT_TAG, order.text)

    def _sync(
        self, order: SyncWorkItem, until: float, *, again: bool
    ) -> Generator[float, None, None]:
        group = RateLimitedTargetGroup(
            self.target_group(order.binding), self.rate_limiter, self.clock
        )
        subject = _subject(order)
        run = _Run(self.reports.of(subject))
        run_in_steps = Reconciler(
            endpoint=self.endpoint(order.binding),
            target_group=group,
            policy=order.binding.policy,
            clock=self.clock,
            reporter=run,
            watch_seconds=0.0,
            rate_limiter=group,
        ).run_in_steps(_TRIGGER, remaining_seconds=until - self.clock.now(), age_seconds=0.0)
        failure: TargetSyncError | None = None
        try:
            yield from run_in_steps
        except TargetSyncError as error:
            failure = error
        record = self._record(order, run.result, failure)
        # The record that the order tells of may be older than the group's, if it has come before
        # or the listing was behind.
        doubtful = again or run.result.run.changed
        if record is not None and (record != order.record or doubtful):
            yield from self._write(subject, order.arn, RECORD_TAG, record)
        if failure is not None and failure.retryable:
            raise failure

    def _record(
        self, order: SyncWorkItem, result: SyncResult, failure: TargetSyncError | None
    ) -> str | None:
        """What is to stand on the group after a run; None for what stands there.

        It is nothing where the group may not be right.
        """
        run = result.run
        if result.status in _RIGHT:
            return write_checkpoint(order.binding, run.observations[-1].addresses, self.key)
        if isinstance(failure, AwsNotFoundError):
            return None
        if failure is not None and failure.retryable and run.detected_at is None:
            # Nothing was found wrong, and the order comes again: the record is as good as it was.
            return None
        return ""

    def _write(
        self, subject: LogContext, arn: str, key: str, value: str
    ) -> Generator[float, None, None]:
        try:
            yield from RateLimitedTags(self.tags, self.rate_limiter, self.clock).write(
                arn, key, value
            )
        except AwsNotFoundError:
            # Deleted since it was listed. The sweep names it if it stays in the listing.
            return
        except TargetSyncError as error:
            if error.retryable:
                raise
            self.reports.failed(subject, error)


class _Run:
    """Implements ``target_sync.reconcile.reconciler.RunReporter``, and keeps the result."""

    def __init__(self, reporter: RunReporter) -> None:
        self._reporter = reporter
        self._results = list[SyncResult]()

    @property
    def result(self) -> SyncResult:
        """How the run ended; it has."""
        (result,) = self._results
        return result

    def report_iteration(self, run: RunState) -> None:
        self._reporter.report_iteration(run)

    def report(self, result: SyncResult) -> None:
        self._results.append(result)
        self._reporter.report(result)


def _subject(order: SyncWorkItem) -> LogContext:
    return {
        "target_group": order.arn,
        "endpoint": order.binding.endpoint,
        "cause": order.cause.value,
    }
