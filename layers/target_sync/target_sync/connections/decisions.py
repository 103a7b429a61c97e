"""Which connection requests to accept, to reject or to leave, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from target_sync.model import ConnectionState, EndpointConnection

Document: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPolicy:
    """Which accounts may connect.

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
    """The reason of a decision, as the result and the messages state it."""

    TRUSTED = "its account is trusted"
    UNTRUSTED = "its account is not trusted"
    FOR_A_PERSON = "its account is not trusted; a person has to decide"
    NO_REQUEST = "it is not a pending request"


#: The states that a connection can have after the action.
_STATES_AFTER: Mapping[ConnectionAction, frozenset[ConnectionState]] = {
    ConnectionAction.ACCEPT: frozenset(
        {ConnectionState.PENDING, ConnectionState.PARTIAL, ConnectionState.AVAILABLE}
    ),
    ConnectionAction.REJECT: frozenset({ConnectionState.REJECTED}),
    ConnectionAction.LEAVE: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Decision:
    """One connection, the action, and its reason."""

    connection: EndpointConnection
    action: ConnectionAction
    reason: DecisionReason

    @property
    def waits(self) -> bool:
        """Whether the request stays pending until a person decides."""
        return self.connection.is_request and self.action is ConnectionAction.LEAVE

    def is_applied_in(self, current: EndpointConnection) -> bool:
        """Whether the current state of the connection shows that the action took effect."""
        return current.state in _STATES_AFTER[self.action]

    def to_document(self) -> Document:
        """Return the decision as the result shows it."""
        return {
            "endpoint": self.connection.endpoint_id,
            "account": self.connection.owner,
            "state": self.connection.state.value,
            "action": self.action.value,
            "reason": self.reason.value,
        }


def decide(connection: EndpointConnection, policy: ConnectionPolicy) -> Decision:
    """Decide about one connection.

    | state | account | action |
    |---|---|---|
    | `pendingAcceptance` | trusted | accept |
    | `pendingAcceptance` | not trusted | leave for a person, or reject when `RejectUntrusted` |
    | any other | any | leave |

    Only a pending request is accepted or rejected. A person may have decided about any other
    connection before.
    """
    if not connection.is_request:
        return Decision(connection, ConnectionAction.LEAVE, DecisionReason.NO_REQUEST)
    if connection.owner in policy.trusted_accounts:
        return Decision(connection, ConnectionAction.ACCEPT, DecisionReason.TRUSTED)
    if policy.reject_untrusted:
        return Decision(connection, ConnectionAction.REJECT, DecisionReason.UNTRUSTED)
    return Decision(connection, ConnectionAction.LEAVE, DecisionReason.FOR_A_PERSON)
