"""The result of a review, as the caller and the log get it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from target_sync.connections.decisions import ConnectionAction, Decision, Document
from target_sync.ports import LogRecord


class ReviewStatus(StrEnum):
    """How a run ended."""

    NO_REQUESTS = "no_requests"
    REVIEWED = "reviewed"
    UNFINISHED = "unfinished"
    WAITING = "waiting"
    DRY_RUN = "dry_run"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewResult:
    """What a run decided and did.

    Attributes:
        trigger: What started the run, as the document shows it.
        decisions: One for each connection of the service.
        applied: The decisions that the run carried out.
        is_unfinished: Whether the time was up before the last decision.
        failures: What failed, a sentence each.
        undelivered_notifications: Messages that may not have been delivered, a sentence each.
    """

    trigger: Document
    dry_run: bool = False
    decisions: tuple[Decision, ...] = ()
    applied: tuple[Decision, ...] = ()
    is_unfinished: bool = False
    failures: tuple[str, ...] = ()
    undelivered_notifications: tuple[str, ...] = ()

    @property
    def status(self) -> ReviewStatus:
        """How the run ended: the first status that applies."""
        if self.failures:
            return ReviewStatus.FAILED
        if self.dry_run:
            return ReviewStatus.DRY_RUN
        if self.is_unfinished:
            return ReviewStatus.UNFINISHED
        if self.waiting:
            return ReviewStatus.WAITING
        return ReviewStatus.REVIEWED if self.applied else ReviewStatus.NO_REQUESTS

    @property
    def accepted(self) -> tuple[Decision, ...]:
        """The requests that this run accepted."""
        return _with_action(self.applied, ConnectionAction.ACCEPT)

    @property
    def rejected(self) -> tuple[Decision, ...]:
        """The requests that this run rejected."""
        return _with_action(self.applied, ConnectionAction.REJECT)

    @property
    def planned(self) -> tuple[Decision, ...]:
        """The actions that were not carried out: in a dry run, or after a failure or a time-out."""
        return tuple(
            d
            for d in self.decisions
            if d.action is not ConnectionAction.LEAVE and d not in self.applied
        )

    @property
    def waiting(self) -> tuple[Decision, ...]:
        """The requests that wait for a person."""
        return tuple(d for d in self.decisions if d.waits)

    def after(self, *decisions: Decision) -> "ReviewResult":
        """Return the result after the run has carried these decisions out."""
        return replace(self, applied=(*self.applied, *decisions))

    def to_document(self) -> Document:
        """Return the result as JSON-ready values, in a stable order."""
        return {
            "status": self.status.value,
            "summary": _summary(self),
            "trigger": self.trigger,
            "accepted": [d.to_document() for d in self.accepted],
            "rejected": [d.to_document() for d in self.rejected],
            "planned": [d.to_document() for d in self.planned],
            "waiting": [d.to_document() for d in self.waiting],
            "connections": len(self.decisions),
            "failures": list(self.failures),
            "undelivered_notifications": list(self.undelivered_notifications),
        }

    def to_log_records(self) -> Iterable[LogRecord]:
        """Return the record of the run."""
        yield LogRecord(
            message="connection review ended",
            fields={"result": self.to_document()},
            level="error" if self.failures else "info",
            counts={
                "ConnectionsAccepted": len(self.accepted),
                "ConnectionsRejected": len(self.rejected),
                "ConnectionsWaiting": len(self.waiting),
                "ConnectionReviewsFailed": len(self.failures),
                "NotificationsFailed": len(self.undelivered_notifications),
            },
        )


_LAST_SENTENCES: Mapping[ReviewStatus, str] = {
    ReviewStatus.NO_REQUESTS: "No connection request is pending.",
    ReviewStatus.REVIEWED: "No other request is pending.",
    ReviewStatus.UNFINISHED: "The time of the run was up; the next run continues.",
    ReviewStatus.WAITING: "A person has to decide about the waiting requests.",
    ReviewStatus.DRY_RUN: "Dry run: nothing was changed.",
    ReviewStatus.FAILED: "Something failed; see failures.",
}


def _summary(result: ReviewResult) -> str:
    parts = (
        ("Accepted", result.accepted),
        ("Rejected", result.rejected),
        ("To accept:", _with_action(result.planned, ConnectionAction.ACCEPT)),
        ("To reject:", _with_action(result.planned, ConnectionAction.REJECT)),
        ("Waiting:", result.waiting),
    )
    sentences = [f"{verb} {_list(decisions)}." for verb, decisions in parts if decisions]
    return " ".join([*sentences, _LAST_SENTENCES[result.status]])


def _with_action(decisions: Iterable[Decision], action: ConnectionAction) -> tuple[Decision, ...]:
    return tuple(d for d in decisions if d.action is action)


def _list(decisions: Iterable[Decision]) -> str:
    return ", ".join(f"{d.connection.endpoint_id} of {d.connection.owner}" for d in decisions)
