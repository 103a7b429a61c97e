"""An endpoint service in memory, with a reviewer around it."""

from collections import Counter
from dataclasses import dataclass, field

from target_sync.connections.decisions import ConnectionPolicy, Decision
from target_sync.connections.messages import notification_of
from target_sync.connections.result import ReviewResult
from target_sync.connections.reviewer import ConnectionReviewer
from target_sync.errors import AwsAccessDeniedError, AwsCallError, AwsUnavailableError
from target_sync.model import ConnectionState, EndpointConnection
from target_sync.notifications.messages import Origin
from target_sync.notifications.sender import NotificationSender
from tests.support.clock import FakeClock
from tests.support.notifications import FakeBus, FakeTopic

SERVICE_ID = "vpce-svc-0a1b2c3d4e5f60718"
ORIGIN = Origin(stack="orders-privatelink", resource=SERVICE_ID)
TRUSTED, OTHER = "222222222222", "444444444444"
UNKNOWN_ENDPOINT = "vpce-00000000000000000"


def throttled(operation: str) -> AwsUnavailableError:
    """Return the adapter's error for a throttled call."""
    return AwsUnavailableError(operation, "RequestLimitExceeded", "slow down")


def forbidden(operation: str) -> AwsCallError:
    """Return the adapter's error for a missing permission."""
    return AwsAccessDeniedError(operation, "UnauthorizedOperation", "not authorized")


class FakeEndpointService:
    """Implements ``target_sync.ports.EndpointServicePort`` in memory.

    Attributes:
        calls: The number of calls of each operation.
        seconds_per_call: How long a call takes.
        faults: Errors to raise once each, by operation or by endpoint. The call has no effect.
        lost_replies: Errors to raise once each, by operation. The call takes effect.
    """

    def __init__(self, clock: FakeClock | None = None) -> None:
        self._clock = clock or FakeClock()
        self.seconds_per_call = 0.0
        self.calls: Counter[str] = Counter()
        self.faults: dict[str, list[AwsCallError]] = {}
        self.lost_replies: dict[str, list[AwsCallError]] = {}
        self._connections: dict[str, EndpointConnection] = {}

    def request(
        self, owner: str, state: ConnectionState = ConnectionState.PENDING_ACCEPTANCE
    ) -> str:
        """Create an endpoint of a consumer, and return its ID."""
        endpoint_id = f"vpce-{len(self._connections) + 1:017x}"
        self.set_state(endpoint_id, state, owner)
        return endpoint_id

    def set_state(self, endpoint_id: str, state: ConnectionState, owner: str = TRUSTED) -> None:
        """Change a connection, as AWS, a person or the consumer would."""
        self._connections[endpoint_id] = EndpointConnection(
            endpoint_id=endpoint_id, owner=owner, state=state
        )

    def delete(self, endpoint_id: str) -> None:
        """Delete the consumer's endpoint."""
        del self._connections[endpoint_id]

    def state(self, endpoint_id: str) -> ConnectionState:
        """Return the state of a connection, without counting a call."""
        return self._connections[endpoint_id].state

    def connections(self) -> tuple[EndpointConnection, ...]:
        self._count("DescribeVpcEndpointConnections")
        return tuple(self._connections.values())

    def accept(self, endpoint_id: str) -> None:
        self._change("AcceptVpcEndpointConnections", endpoint_id, ConnectionState.AVAILABLE)

    def reject(self, endpoint_id: str) -> None:
        self._change("RejectVpcEndpointConnections", endpoint_id, ConnectionState.REJECTED)

    def _count(self, operation: str, endpoint_id: str = "") -> None:
        self.calls[operation] += 1
        self._clock.advance(self.seconds_per_call)
        for key in (operation, endpoint_id):
            if self.faults.get(key):
                raise self.faults[key].pop(0)

    def _change(self, operation: str, endpoint_id: str, state: ConnectionState) -> None:
        self._count(operation, endpoint_id)
        if endpoint_id not in self._connections:
            raise AwsCallError(
                operation, "InvalidVpcEndpointId.NotFound", "the endpoint does not exist"
            )
        self.set_state(endpoint_id, state, self._connections[endpoint_id].owner)
        if self.lost_replies.get(operation):
            raise self.lost_replies[operation].pop(0)


@dataclass
class FakeConnectionNotifier:
    """Implements ``target_sync.connections.reviewer.ConnectionNotifier`` with the real sender."""

    sender: NotificationSender

    def notify(self, decision: Decision) -> tuple[str, ...]:
        return self.sender.send(notification_of(decision, ORIGIN, at=0.0))


@dataclass
class FakeReviewReporter:
    """Implements ``target_sync.ports.Reporter``."""

    results: list[ReviewResult] = field(default_factory=list)

    def report(self, result: ReviewResult) -> None:
        self.results.append(result)


class ReviewedService:
    """A reviewer of an endpoint service in memory, with a topic and an event bus."""

    def __init__(self, *, reject_untrusted: bool = False, has_topic: bool = True) -> None:
        self.clock = FakeClock()
        self.service = FakeEndpointService(self.clock)
        self.topic = FakeTopic()
        self.bus = FakeBus()
        self.reporter = FakeReviewReporter()
        self.reviewer = ConnectionReviewer(
            service=self.service,
            policy=ConnectionPolicy(
                trusted_accounts=frozenset({TRUSTED}), reject_untrusted=reject_untrusted
            ),
            notifier=FakeConnectionNotifier(
                NotificationSender(topic=self.topic if has_topic else None, bus=self.bus)
            ),
            reporter=self.reporter,
            clock=self.clock,
        )
