"""What a sweep and a watch did, as documents: the answer to the caller, the record in the log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from target_sync.fleet.model import Finding, WorkReason
from target_sync.fleet.planner import PlannedWork
from target_sync.ports import LogRecord

#: The findings in one log record. A larger record may exceed the size of a CloudWatch event
#: (256 KB).
FINDINGS_IN_A_RECORD = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """The end of a sweep.

    Attributes:
        trigger: What set it off, as it is to stand in the document.
        dry_run: Whether nothing was handed out.
        bound: How many groups are bound to a name.
        findings: What is wrong with groups.
        work: What was handed out; in a dry run what would be.
        postponed: How many more groups need work.
        waiting: About how many orders nobody had finished when it began.
        seconds: How long it took.
    """

    trigger: Mapping[str, object]
    dry_run: bool
    bound: int
    findings: tuple[Finding, ...]
    work: tuple[PlannedWork, ...]
    postponed: int
    waiting: int
    seconds: float

    def count(self, cause: WorkReason) -> int:
        """How many groups were handed out for this reason."""
        return sum(work.cause is cause for work in self.work)

    def to_document(self) -> Mapping[str, object]:
        """The result as JSON; with the groups of its orders only if nobody has them otherwise."""
        document = {
            "trigger": self.trigger,
            "dry_run": self.dry_run,
            "groups": {
                "bound": self.bound,
                "with_findings": len(self.findings),
                "changed": self.count(WorkReason.ANSWER_CHANGED),
                "unverified": self.count(WorkReason.UNVERIFIED),
                "audited": self.count(WorkReason.AUDIT),
                "postponed": self.postponed,
            },
            "waiting": self.waiting,
            "seconds": round(self.seconds, 3),
            "findings": [finding.to_document() for finding in self.findings],
        }
        if self.dry_run:
            document["work"] = [
                {"arn": work.binding.arn, "cause": work.cause.value} for work in self.work
            ]
        return document

    def to_log_records(self) -> Iterable[LogRecord]:
        """Return the records of the sweep; a dry run has no metrics."""
        document = dict(self.to_document())
        counts = {
            "SweepSucceeded": 1,
            "GroupsBound": self.bound,
            "GroupsWithFindings": len(self.findings),
            "GroupsChanged": self.count(WorkReason.ANSWER_CHANGED),
            "GroupsUnverified": self.count(WorkReason.UNVERIFIED),
            "GroupsAudited": self.count(WorkReason.AUDIT),
            "GroupsPostponed": self.postponed,
        }
        for start in range(0, max(1, len(self.findings)), FINDINGS_IN_A_RECORD):
            part = self.findings[start : start + FINDINGS_IN_A_RECORD]
            is_last = start + FINDINGS_IN_A_RECORD >= len(self.findings)
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
    """The end of a watch.

    Attributes:
        events: How many came, those that were taken from the queue on the way too.
        unreadable: How many of them named no database.
        databases: How many names of databases were watched, because a group is bound to them.
        orders: How many orders were sent.
        left: How many databases were still watched at the end; the sweep goes on with them.
        failures: How many calls to the queues failed and were outlived.
        last_failure: What the last of them said; empty if there was none.
        seconds: How long it took.
    """

    events: int
    unreadable: int
    databases: int
    orders: int
    left: int
    failures: int
    last_failure: str
    seconds: float

    def to_document(self) -> Mapping[str, object]:
        """The result as JSON."""
        return {
            "events": self.events,
            "unreadable": self.unreadable,
            "databases": self.databases,
            "orders": self.orders,
            "left": self.left,
            "failures": self.failures,
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
