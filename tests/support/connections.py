"""An endpoint service in memory, and people who are told."""

from collections import Counter
from dataclasses import dataclass, field

from target_sync.connections.decisions import ConnectionPolicy, Decision, ReviewResult
from target_sync.connections.messages import notification_of
from target_sync.connections.reviewer import ConnectionReviewer
from target_sync.errors import EndpointServiceError, EndpointServiceUnavailableError
from target_sync.model import ConnectionState, EndpointConnection
from target_sync.notifications.messages import Origin
from target_sync.notifications.sender import NotificationSender
from tests.support.notifications import FakeBus, FakeTopic

SERVICE_ID = "vpce-svc-0a1b2c3d4e5f60718"
SENDER = Origin(stack="orders-privatelink", resource=SERVICE_ID)
TRUSTED, OTHER = "222222222222", "444444444444"
NOBODYS_ENDPOINT = "vpce-00000000000000000"


def throttled(operation: str) -> EndpointServiceUnavailableError:
    """What the adapter raises when AWS says slow down."""
    return EndpointServiceUnavailableError(operation, "RequestLimitExceeded", "slow down")


def forbidden(operation: str) -> EndpointServiceError:
    """What the adapter raises when the role lacks a permission."""
    return EndpointServiceError(operation, "UnauthorizedOperation", "not authorized")


class FakeEndpointService:
    """Implements ``target_sync.ports.EndpointServicePort`` in memory.

    Attributes:
        calls: How often each operation was called.
        faults: Errors to raise, by operation or by endpoint, each once.
        lost_replies: The same, after the answer was given.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.faults: dict[str, list[EndpointServiceError]] = {}
        self.lost_replies: dict[str, list[EndpointServiceError]] = {}
        self._listed: dict[str, EndpointConnection] = {}

    def asks(self, owner: str, state: ConnectionState = ConnectionState.PENDING_ACCEPTANCE) -> str:
        """A consumer makes an endpoint; its ID."""
        endpoint_id = f"vpce-{len(self._listed) + 1:017x}"
        self.becomes(endpoint_id, state, owner)
        return endpoint_id

    def becomes(self, endpoint_id: str, state: ConnectionState, owner: str = TRUSTED) -> None:
        """Somebody else changes a connection."""
        self._listed[endpoint_id] = EndpointConnection(
            endpoint_id=endpoint_id, owner=owner, state=state
        )

    def goes(self, endpoint_id: str) -> None:
        """The consumer deletes its endpoint."""
        del self._listed[endpoint_id]

    def state(self, endpoint_id: str) -> ConnectionState:
        """Where a connection stands, without counting a call."""
        return self._listed[endpoint_id].state

    def connections(self) -> tuple[EndpointConnection, ...]:
        self._called("DescribeVpcEndpointConnections")
        return tuple(self._listed.values())

    def accept(self, endpoint_id: str) -> None:
        self._answer("AcceptVpcEndpointConnections", endpoint_id, ConnectionState.AVAILABLE)

    def reject(self, endpoint_id: str) -> None:
        self._answer("RejectVpcEndpointConnections", endpoint_id, ConnectionState.REJECTED)

    def _called(self, operation: str, endpoint_id: str = "") -> None:
        self.calls[operation] += 1
        for key in (operation, endpoint_id):
            if self.faults.get(key):
                raise self.faults[key].pop(0)

    def _answer(self, operation: str, endpoint_id: str, state: ConnectionState) -> None:
        self._called(operation, endpoint_id)
        if endpoint_id not in self._listed:
            raise EndpointServiceError(
                operation, "InvalidVpcEndpointId.NotFound", "the endpoint does not exist"
            )
        self.becomes(endpoint_id, state, self._listed[endpoint_id].owner)
        if self.lost_replies.get(operation):
            raise self.lost_replies[operation].pop(0)


@dataclass
class FakeNotifier:
    """Implements ``target_sync.connections.reviewer.ConnectionTeller``, with our own courier."""

    notification_sender: NotificationSender

    def notify(self, decision: Decision) -> tuple[str, ...]:
        return self.notification_sender.send(notification_of(decision, SENDER, at=0.0))


@dataclass
class FakeAnswerReporter:
    """Implements ``target_sync.connections.reviewer.AnswerReporter``."""

    results: list[ReviewResult] = field(default_factory=list)

    def report(self, result: ReviewResult) -> None:
        self.results.append(result)


class Desk:
    """An endpoint service, the people around it, and our answerer between them."""

    def __init__(self, *, reject_untrusted: bool = False, has_topic: bool = True) -> None:
        self.service = FakeEndpointService()
        self.people = FakeTopic()
        self.bus = FakeBus()
        self.reporter = FakeAnswerReporter()
        self.reviewer = ConnectionReviewer(
            service=self.service,
            policy=ConnectionPolicy(
                trusted_accounts=frozenset({TRUSTED}), reject_untrusted=reject_untrusted
            ),
            notifier=FakeNotifier(
                NotificationSender(topic=self.people if has_topic else None, bus=self.bus)
            ),
            reporter=self.reporter,
        )
