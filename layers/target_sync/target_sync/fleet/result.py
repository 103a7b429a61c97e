"""The results of a sweep and of a watch, for the caller and for the log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from target_sync.fleet.model import Finding, WorkReason
from target_sync.fleet.planner import PlannedWork
from target_sync.ports import LogRecord

#: The findings in one log record. A larger record may exceed the size of a CloudWatch event
#: (256 KB).
FINDINGS_PER_RECORD = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """The result of a sweep.

    Attributes:
        bound: How many groups are bound to a database.
        work: The groups that were sent to the workers; in a dry run those that would be.
        postponed: How many more groups need work.
        queued: About how many work items the queue had at the start.
    """

    trigger: Mapping[str, object]
    dry_run: bool
    bound: int
    findings: tuple[Finding, ...]
    work: tuple[PlannedWork, ...]
    postponed: int
    queued: int
    seconds: float

    def count(self, reason: WorkReason) -> int:
        """Return how many groups were sent for this reason."""
        return sum(work.reason is reason for work in self.work)

    def to_document(self) -> Mapping[str, object]:
        """Return the result as JSON. Only a dry run lists the work."""
        document = {
            "trigger": self.trigger,
            "dry_run": self.dry_run,
            "groups": {
                "bound": self.bound,
                "with_findings": len(self.findings),
                "changed": self.count(WorkReason.ADDRESSES_CHANGED),
                "unverified": self.count(WorkReason.UNVERIFIED),
                "audited": self.count(WorkReason.AUDIT),
                "postponed": self.postponed,
            },
            "queued_work_items": self.queued,
            "seconds": round(self.seconds, 3),
            "findings": [finding.to_document() for finding in self.findings],
        }
        if self.dry_run:
            document["work"] = [
                {"arn": work.binding.arn, "reason": work.reason.value} for work in self.work
            ]
        return document

    def to_log_records(self) -> Iterable[LogRecord]:
        """Return the records of the sweep; a dry run has no metrics."""
        document = dict(self.to_document())
        counts = {
            "SweepSucceeded": 1,
            "GroupsBound": self.bound,
            "GroupsWithFindings": len(self.findings),
            "GroupsChanged": self.count(WorkReason.ADDRESSES_CHANGED),
            "GroupsUnverified": self.count(WorkReason.UNVERIFIED),
            "GroupsAudited": self.count(WorkReason.AUDIT),
            "GroupsPostponed": self.postponed,
        }
        for start in range(0, max(1, len(self.findings)), FINDINGS_PER_RECORD):
            part = self.findings[start : start + FINDINGS_PER_RECORD]
            is_last = start + FINDINGS_PER_RECORD >= len(self.findings)
            yield LogRecord(
                message="sweep ended",
                fields={
                    "result": document | {"findings": [finding.to_document() for finding in part]}
                },
                level="warning" if self.findings else "info",
                counts=counts if is_last and not self.dry_run else {},
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchResult:
    """The result of a watch.

    Attributes:
        events: How many events there were, with those received during the watch.
        unreadable: How many of them had no database.
        databases: How many databases with a bound group were watched.
        still_watched: How many databases were still watched at the end. The sweep continues.
        failures: How many calls to the queues failed and did not stop the watch.
        last_failure: The message of the last of them; empty if there was none.
    """

    events: int
    unreadable: int
    databases: int
    work_items: int
    still_watched: int
    failures: int
    last_failure: str
    seconds: float

    def to_document(self) -> Mapping[str, object]:
        """Return the result as JSON."""
        return {
            "events": self.events,
            "unreadable_events": self.unreadable,
            "databases": self.databases,
            "work_items": self.work_items,
            "still_watched": self.still_watched,
            "failed_calls": self.failures,
            "last_failure": self.last_failure or None,
            "seconds": round(self.seconds, 3),
        }

    def to_log_records(self) -> Iterable[LogRecord]:
        """Return the record of the watch."""
        yield LogRecord(
            message="watch ended",
            fields={"result": self.to_document()},
            level="warning" if self.unreadable or self.failures else "info",
        )
