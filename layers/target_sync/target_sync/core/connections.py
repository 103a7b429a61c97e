"""Which endpoint connections to accept, to reject or to leave, and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

Document: TypeAlias = Mapping[str, object]


class ConnectionState(StrEnum):
    """The states of an endpoint connection (EC2 API reference, VpcEndpointConnection)."""

    PENDING_ACCEPTANCE = "pendingAcceptance"
    PENDING = "pending"
    AVAILABLE = "available"
    DELETING = "deleting"
    DELETED = "deleted"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"
    PARTIAL = "partial"
    #: A state that this version does not know: nothing is answered.
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, text: str) -> "ConnectionState":
        """The state that AWS means: its model and its replies differ in case."""
        return _STATES.get(text.lower(), cls.UNKNOWN)


_STATES = {state.lower(): state for state in ConnectionState}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConnection:
    """One line of DescribeVpcEndpointConnections.

    Attributes:
        endpoint_id: The consumer's endpoint, ``vpce-…``.
        owner: The account that owns the endpoint, as EC2 says it.
        state: Where the connection stands.
        created_at: When the endpoint was made, in seconds since the epoch; None if not said. It
            does not make another connection of it.
    """

    endpoint_id: str
    owner: str
    state: ConnectionState
    created_at: float | None = field(default=None, compare=False)

    @property
    def is_request(self) -> bool:
        """Whether the consumer waits for an answer."""
        return self.state is ConnectionState.PENDING_ACCEPTANCE


class EndpointServicePort(Protocol):
    """One endpoint service and its connections.

    Every method raises ``EndpointServiceUnavailableError`` for what may pass and another
    ``EndpointServiceError`` for what will not. An answer whose reply was lost may have been given.
    """

    def connections(self) -> tuple[EndpointConnection, ...]:
        """List every connection of the service, whatever its state."""
        ...

    def accept(self, endpoint_id: str) -> None:
        """Accept the request of an endpoint."""
        ...

    def reject(self, endpoint_id: str) -> None:
        """Reject the request of an endpoint."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPolicy:
    """Who may connect.

    Attributes:
        trusted_accounts: Accounts whose requests are accepted, twelve digits each.
        reject_untrusted: Reject every other request, instead of leaving it for a person.
    """

    trusted_accounts: frozenset[str]
    reject_untrusted: bool = False


class Answer(StrEnum):
    """What to do about a connection."""

    ACCEPT = "accept"
    REJECT = "reject"
    LEAVE = "leave"


class Reason(StrEnum):
    """Why. The words stand in the result and in the messages."""

    TRUSTED = "its account is trusted"
    UNTRUSTED = "its account is not trusted"
    FOR_A_PERSON = "its account is not trusted; a person has to decide"
    NO_REQUEST = "it does not wait for an answer"


@dataclass(frozen=True, slots=True)
class Decision:
    """One connection, what to do about it, and why."""

    connection: EndpointConnection
    answer: Answer
    reason: Reason

    @property
    def waits(self) -> bool:
        """Whether the request stays open until a person decides."""
        return self.connection.is_request and self.answer is Answer.LEAVE

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
            "why": self.reason.value,
        }


_SHOWN_BY: Mapping[Answer, frozenset[ConnectionState]] = {
    Answer.ACCEPT: frozenset(
        {ConnectionState.PENDING, ConnectionState.PARTIAL, ConnectionState.AVAILABLE}
    ),
    Answer.REJECT: frozenset({ConnectionState.REJECTED}),
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
        return Decision(connection, Answer.LEAVE, Reason.NO_REQUEST)
    if connection.owner in policy.trusted_accounts:
        return Decision(connection, Answer.ACCEPT, Reason.TRUSTED)
    if policy.reject_untrusted:
        return Decision(connection, Answer.REJECT, Reason.UNTRUSTED)
    return Decision(connection, Answer.LEAVE, Reason.FOR_A_PERSON)


class AnswerStatus(StrEnum):
    """How a run ended."""

    NOTHING_TO_ANSWER = "nothing_to_answer"
    ANSWERED = "answered"
    WAITING = "waiting"
    DRY_RUN = "dry_run"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerResult:
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
    untold: tuple[str, ...] = ()

    @property
    def status(self) -> AnswerStatus:
        """How the run ended: the first of these that holds."""
        if self.failures:
            return AnswerStatus.FAILED
        if self.dry_run:
            return AnswerStatus.DRY_RUN
        if self.waiting:
            return AnswerStatus.WAITING
        return AnswerStatus.ANSWERED if self.answered else AnswerStatus.NOTHING_TO_ANSWER

    @property
    def accepted(self) -> tuple[Decision, ...]:
        """The requests that this run accepted."""
        return _of(self.answered, Answer.ACCEPT)

    @property
    def rejected(self) -> tuple[Decision, ...]:
        """The requests that this run rejected."""
        return _of(self.answered, Answer.REJECT)

    @property
    def planned(self) -> tuple[Decision, ...]:
        """The answers that were decided and not given: a dry run's, or those that failed."""
        return tuple(
            d for d in self.decisions if d.answer is not Answer.LEAVE and d not in self.answered
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
            "untold": list(self.untold),
        }


_ENDINGS: Mapping[AnswerStatus, str] = {
    AnswerStatus.NOTHING_TO_ANSWER: "No request waits for an answer.",
    AnswerStatus.ANSWERED: "Every request is answered.",
    AnswerStatus.WAITING: "A person has to decide the rest.",
    AnswerStatus.DRY_RUN: "Dry run: nothing was changed.",
    AnswerStatus.FAILED: "Something failed; see failures.",
}


def summarize(result: AnswerResult) -> str:
    """A few short sentences for a person."""
    deeds = (
        ("Accepted", result.accepted),
        ("Rejected", result.rejected),
        ("To accept:", _of(result.planned, Answer.ACCEPT)),
        ("To reject:", _of(result.planned, Answer.REJECT)),
        ("Waiting:", result.waiting),
    )
    told = [f"{verb} {_listed(decisions)}." for verb, decisions in deeds if decisions]
    return " ".join([*told, _ENDINGS[result.status]])


def _of(decisions: Iterable[Decision], answer: Answer) -> tuple[Decision, ...]:
    return tuple(d for d in decisions if d.answer is answer)


def _listed(decisions: Iterable[Decision]) -> str:
    return ", ".join(f"{d.connection.endpoint_id} of {d.connection.owner}" for d in decisions)
