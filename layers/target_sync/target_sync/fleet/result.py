"""The result of a sweep, for the caller and for the log."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from target_sync.fleet.model import Finding, FindingCode, RunReason
from target_sync.ports import LogRecord
from target_sync.triggers import Trigger

#: The findings in one log record. A larger record may exceed the size of a CloudWatch event
#: (256 KB).
FINDINGS_PER_RECORD = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """The result of a sweep.

    Attributes:
        bound: How many groups are bound to a database.
        runs: How many runs ended, by their reason.
        waiting: How many groups needed a run at the end and had none.
        longest_unverified: For how many seconds some group has not been verified.
        polls: How many observations were made.
    """

    trigger: Trigger
    bound: int
    findings: tuple[Finding, ...]
    runs: Counter[RunReason]
    waiting: int
    longest_unverified: float
    polls: int
    seconds: float

    def to_document(self) -> Mapping[str, object]:
        """Return the result as JSON."""
        return {
            "trigger": self.trigger.to_document(),
            "dry_run": self.trigger.dry_run,
            "groups": {
                "bound": self.bound,
                "with_findings": len(self.findings),
                "waiting": self.waiting,
                "longest_unverified_seconds": round(self.longest_unverified, 3),
            },
            "runs": {
                "changed": self.runs[RunReason.ADDRESSES_CHANGED],
                "unverified": self.runs[RunReason.UNVERIFIED],
                "audited": self.runs[RunReason.AUDIT],
            },
            "polls": self.polls,
            "seconds": round(self.seconds, 3),
            "findings": [finding.to_document() for finding in self.findings],
        }

    def to_log_records(self) -> Iterable[LogRecord]:
        """Return the records of the sweep; a dry run has no metrics."""
        document = dict(self.to_document())
        counts = {
            "SweepSucceeded": 1,
            "GroupsBound": self.bound,
            # The fleet follows a group with other settings, so no alarm is needed.
            "GroupsWithFindings": sum(
                finding.code is not FindingCode.OTHER_SETTINGS for finding in self.findings
            ),
            "GroupsChanged": self.runs[RunReason.ADDRESSES_CHANGED],
            "GroupsUnverified": self.runs[RunReason.UNVERIFIED],
            "GroupsAudited": self.runs[RunReason.AUDIT],
            "GroupsWaiting": self.waiting,
        }
        for start in range(0, max(1, len(self.findings)), FINDINGS_PER_RECORD):
            part = self.findings[start : start + FINDINGS_PER_RECORD]
            has_metrics = not self.trigger.dry_run and start + FINDINGS_PER_RECORD >= len(
                self.findings
            )
            yield LogRecord(
                message="sweep ended",
                fields={
                    "result": document | {"findings": [finding.to_document() for finding in part]}
                },
                level="warning" if self.findings else "info",
                counts=counts if has_metrics else {},
                seconds={"LongestUnverified": self.longest_unverified} if has_metrics else {},
            )


@dataclass(frozen=True, slots=True)
class FailedSweep:
    """A sweep that could not list the groups. Those that were known were kept in sync."""

    trigger: Trigger
    error: BaseException

    def to_log_records(self) -> Iterable[LogRecord]:
        """Return the record of the sweep; a dry run has no metric."""
        yield LogRecord(
            message="sweep failed",
            fields={"trigger": self.trigger.to_document(), "failure": str(self.error)},
            level="error",
            counts={} if self.trigger.dry_run else {"SweepFailed": 1},
        )
