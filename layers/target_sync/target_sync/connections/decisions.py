"""Which endpoint connections to accept, to reject or to leave, and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from target_sync.model import ConnectionState, EndpointConnection

Document: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPolicy:
    """Who may connect.

    Attributes:
        trusted_accounts: Accounts whose requests are accepted, twelve digits each.
        reject_untrusted: Reject every other request, instead of leaving it for a person.
    """

    trusted_accounts: frozenset[str]
    reject_untrusted: bool = False


class ConnectionAction(StrEnum):
    """What to do about a connection."""

    ACCEPT = "accept"
    REJECT = "reject"
    LEAVE = "leave"


class DecisionReason(StrEnum):
    """Why. The words stand in the result and in the messages."""

    TRUSTED = "its account is trusted"
    UNTRUSTED = "its account is not trusted"
    FOR_A_PERSON = "its account is not trusted; a person has to decide"
    NO_REQUEST = "it does not wait for an answer"


@dataclass(frozen=True, slots=True)
class Decision:
    """One connection, what to do about it, and why."""

    connection: EndpointConnection
    answer: ConnectionAction
    reason: DecisionReason

    @property
    def waits(self) -> bool:
        """Whether the request stays open until a person decides."""
        return self.connection.is_request and self.answer is ConnectionAction.LEAVE

    def shows_in(self, now: EndpointConnection) -> bool:
        """Whether the answer has been given, as the connection is now."""
        return now.state in _SHOWN_BY.get(self.answer, ())

    def to_document(self) -> Document:
        """The decision as it stands in the result."""
        return {
            "endpoint": self.connection.endpoint_id,
            "account": self.connection.owner,
            "state": self.connection.state.value,
            "answer": self.answer.value,
            "reason": self.reason.value,
        }


_SHOWN_BY: Mapping[ConnectionAction, frozenset[ConnectionState]] = {
    ConnectionAction.ACCEPT: frozenset(
        {ConnectionState.PENDING, ConnectionState.PARTIAL, ConnectionState.AVAILABLE}
    ),
    ConnectionAction.REJECT: frozenset({ConnectionState.REJECTED}),
}


def decide(connection: EndpointConnection, policy: ConnectionPolicy) -> Decision:
    """Decide about one connection.

    | state | account | answer |
    |---|---|---|
    | `pendingAcceptance` | trusted | accept |
    | `pendingAcceptance` | not trusted | leave for a person, or reject when `RejectUntrusted` |
    | any other | any | leave |

    Only a request is answered. What was accepted or rejected before is somebody's decision, and
    what has failed, expired or gone has nobody who waits.
    """
    if not connection.is_request:
        return Decision(connection, ConnectionAction.LEAVE, DecisionReason.NO_REQUEST)
    if connection.owner in policy.trusted_accounts:
        return Decision(connection, ConnectionAction.ACCEPT, DecisionReason.TRUSTED)
    if policy.reject_untrusted:
        return Decision(connection, ConnectionAction.REJECT, DecisionReason.UNTRUSTED)
    return Decision(connection, ConnectionAction.LEAVE, DecisionReason.FOR_A_PERSON)


class ReviewStatus(StrEnum):
    """How a run ended."""

    NO_REQUESTS = "no_requests"
    REVIEWED = "reviewed"
    WAITING = "waiting"
    DRY_RUN = "dry_run"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewResult:
    """The end of a run.

    Attributes:
        trigger: What set it off, as it is to stand in the document.
        dry_run: Whether nothing was to be changed.
        decisions: About every connection of the service.
        answered: The decisions that were carried out.
        failures: What failed, a sentence each.
        untold: Messages that may have reached nobody, a sentence each.
    """

    trigger: Document
    dry_run: bool = False
    decisions: tuple[Decision, ...] = ()
    answered: tuple[Decision, ...] = ()
    failures: tuple[str, ...] = ()
    undelivered_notifications: tuple[str, ...] = ()

    @property
    def status(self) -> ReviewStatus:
        """How the run ended: the first of these that holds."""
        if self.failures:
            return ReviewStatus.FAILED
        if self.dry_run:
            return ReviewStatus.DRY_RUN
        if self.waiting:
            return ReviewStatus.WAITING
        return ReviewStatus.REVIEWED if self.answered else ReviewStatus.NO_REQUESTS

    @property
    def accepted(self) -> tuple[Decision, ...]:
        """The requests that this run accepted."""
        return _of(self.answered, ConnectionAction.ACCEPT)

    @property
    def rejected(self) -> tuple[Decision, ...]:
        """The requests that this run rejected."""
        return _of(self.answered, ConnectionAction.REJECT)

    @property
    def planned(self) -> tuple[Decision, ...]:
        """The answers that were decided and not given: a dry run's, or those that failed."""
        return tuple(
            d
            for d in self.decisions
            if d.answer is not ConnectionAction.LEAVE and d not in self.answered
        )

    @property
    def waiting(self) -> tuple[Decision, ...]:
        """The requests that a person has to decide."""
        return tuple(d for d in self.decisions if d.waits)

    def to_document(self) -> Document:
        """The result as JSON-ready values, in a stable order."""
        return {
            "status": self.status.value,
            "summary": summarize(self),
            "trigger": self.trigger,
            "accepted": [d.to_document() for d in self.accepted],
            "rejected": [d.to_document() for d in self.rejected],
            "planned": [d.to_document() for d in self.planned],
            "waiting": [d.to_document() for d in self.waiting],
            "connections": len(self.decisions),
            "failures": list(self.failures),
            "undelivered_notifications": list(self.undelivered_notifications),
        }


_ENDINGS: Mapping[ReviewStatus, str] = {
    ReviewStatus.NO_REQUESTS: "No request waits for an answer.",
    ReviewStatus.REVIEWED: "Every request is answered.",
    ReviewStatus.WAITING: "A person has to decide the rest.",
    ReviewStatus.DRY_RUN: "Dry run: nothing was changed.",
    ReviewStatus.FAILED: "Something failed; see failures.",
}


def summarize(result: ReviewResult) -> str:
    """A few short sentences for a person."""
    deeds = (
        ("Accepted", result.accepted),
        ("Rejected", result.rejected),
        ("To accept:", _of(result.planned, ConnectionAction.ACCEPT)),
        ("To reject:", _of(result.planned, ConnectionAction.REJECT)),
        ("Waiting:", result.waiting),
    )
    told = [f"{verb} {_listed(decisions)}." for verb, decisions in deeds if decisions]
    return " ".join([*told, _ENDINGS[result.status]])


def _of(decisions: Iterable[Decision], answer: ConnectionAction) -> tuple[Decision, ...]:
    return tuple(d for d in decisions if d.answer is answer)


def _listed(decisions: Iterable[Decision]) -> str:
    return ", ".join(f"{d.connection.endpoint_id} of {d.connection.owner}" for d in decisions)
