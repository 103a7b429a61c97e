"""Endpoint services and the connections of consumers in other accounts.

Sources: Amazon EC2 API reference (VpcEndpointConnection, ServiceConfiguration, the error codes)
and the AWS PrivateLink guide. Methods name the assumptions where AWS documents
nothing.
"""

import fnmatch
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from lab.emulator.errors import ApiError
from lab.emulator.scope import Scope


class ConnectionState(StrEnum):
    """`VpcEndpointConnection.VpcEndpointState` in the API's responses."""

    PENDING_ACCEPTANCE = "pendingAcceptance"
    PENDING = "pending"
    AVAILABLE = "available"
    REJECTED = "rejected"


_OPEN = (ConnectionState.PENDING_ACCEPTANCE, ConnectionState.AVAILABLE)


@dataclass(slots=True, kw_only=True)
class EndpointConnection:
    """One consumer's endpoint of a service."""

    endpoint_id: str
    consumer: Scope
    state: ConnectionState
    created: datetime


@dataclass(slots=True, kw_only=True)
class EndpointService:
    """One endpoint service. Principals are kept with their service permission ids."""

    id: str
    owner: Scope
    acceptance_required: bool
    load_balancer_arns: list[str]
    ip_address_types: list[str]
    regions: list[str]
    principals: dict[str, str] = field(default_factory=dict)
    connections: dict[str, EndpointConnection] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name that consumers connect to."""
        return f"com.amazonaws.vpce.{self.owner.region}.{self.id}"

    def allows(self, account: str) -> bool:
        """Return whether an account may connect.

        A principal of an account (its root, a role or a user) allows the whole account, because the
        lab's consumers have no roles. The owner is always allowed.
        """
        named = {p for p in self.principals if p != "*" and not _is_service(p)}
        accounts = {p if p.isdigit() else p.split(":")[4] for p in named}
        return "*" in self.principals or account in {*accounts, self.owner.account}

    def permit(self, add: Iterable[str], remove: Iterable[str]) -> None:
        """Change the allowed principals. Connections that exist stay, as on AWS.

        Raises:
            ApiError: `InvalidPrincipal`.
        """
        for principal in add:
            if principal != "*" and not principal.isdigit() and not _is_principal(principal):
                raise ApiError("InvalidPrincipal", f"The principal '{principal}' is not valid")
            self.principals.setdefault(principal, _identifier("vpce-svc-perm"))
        for principal in remove:
            self.principals.pop(principal, None)

    def check_no_open_connections(self) -> None:
        """Reject a change that would disconnect consumers.

        Raises:
            ApiError: `ExistingVpcEndpointConnections`.
        """
        open_ids = [c.endpoint_id for c in self.connections.values() if c.state in _OPEN]
        if open_ids:
            raise ApiError(
                "ExistingVpcEndpointConnections",
                f"Service {self.id} has existing active VPC Endpoint connections: "
                + ", ".join(open_ids),
            )


class ConnectionEvent(StrEnum):
    """`ConnectionEvents` of a connection notification."""

    CONNECT = "Connect"
    ACCEPT = "Accept"
    REJECT = "Reject"
    DELETE = "Delete"


@dataclass(slots=True, kw_only=True)
class ConnectionNotification:
    """A topic for the events of a service's connections."""

    id: str
    owner: Scope
    service_id: str
    topic_arn: str
    events: list[str]


_DECISIONS = {
    ConnectionState.AVAILABLE: ConnectionEvent.ACCEPT,
    ConnectionState.REJECTED: ConnectionEvent.REJECT,
}
Publish = Callable[[ConnectionNotification, ConnectionEvent, EndpointConnection], None]


def publish_nothing(*_: object) -> None:
    """Publish no event."""


@dataclass(slots=True)
class EndpointServices:
    """Every endpoint service of every account and region.

    Attributes:
        publish: Sends an event of a connection to the topic of a notification.
    """

    publish: Publish = publish_nothing
    _services: dict[str, EndpointService] = field(default_factory=dict)
    _notifications: dict[str, ConnectionNotification] = field(default_factory=dict)

    def clear(self) -> None:
        """Delete all services and notifications."""
        self._services.clear()
        self._notifications.clear()

    def __iter__(self) -> Iterator[EndpointService]:
        return iter(list(self._services.values()))

    def create(
        self,
        owner: Scope,
        *,
        load_balancer_arns: Collection[str],
        acceptance_required: bool,
        ip_address_types: Collection[str] = (),
        regions: Collection[str] = (),
    ) -> EndpointService:
        """Create a service. The caller checks that the load balancers exist.

        Raises:
            ApiError: `MissingParameter` without a load balancer.
        """
        if not load_balancer_arns:
            raise ApiError("MissingParameter", "At least one load balancer ARN is required")
        service = EndpointService(
            id=_identifier("vpce-svc"),
            owner=owner,
            acceptance_required=acceptance_required,
            load_balancer_arns=list(load_balancer_arns),
            ip_address_types=list(ip_address_types) or ["ipv4"],
            regions=list(regions) or [owner.region],
        )
        self._services[service.id] = service
        return service

    def owned(self, owner: Scope, ids: Collection[str] = ()) -> list[EndpointService]:
        """Return an account's services in a region, or the named ones of them.

        Raises:
            ApiError: `InvalidVpcEndpointServiceId.NotFound`.
        """
        if ids:
            return [self.find(owner, id_) for id_ in ids]
        return [service for service in self if service.owner == owner]

    def find(self, owner: Scope, id_: str) -> EndpointService:
        """Return one service of an account and region.

        Raises:
            ApiError: `InvalidVpcEndpointServiceId.NotFound`.
        """
        service = self._services.get(id_)
        if service is None or service.owner != owner:
            raise ApiError(
                "InvalidVpcEndpointServiceId.NotFound",
                f"The VpcEndpointService Id '{id_}' does not exist",
            )
        return service

    def delete(self, owner: Scope, id_: str) -> None:
        """Delete a service and its notifications.

        Raises:
            ApiError: `InvalidVpcEndpointServiceId.NotFound`, `ExistingVpcEndpointConnections`.
        """
        self.find(owner, id_).check_no_open_connections()
        del self._services[id_]
        for notification in self.notifications(owner):
            if notification.service_id == id_:
                del self._notifications[notification.id]

    def connect(self, consumer: Scope, service_name: str, endpoint_id: str) -> EndpointConnection:
        """Connect a consumer's new endpoint.

        Raises:
            ApiError: `InvalidServiceName`, also when the consumer is not an allowed principal.
        """
        service = self.offered(consumer, service_name)
        connection = EndpointConnection(
            endpoint_id=endpoint_id,
            consumer=consumer,
            state=(
                ConnectionState.PENDING_ACCEPTANCE
                if service.acceptance_required
                else ConnectionState.AVAILABLE
            ),
            created=datetime.now(UTC),
        )
        service.connections[endpoint_id] = connection
        self._announce(service, ConnectionEvent.CONNECT, connection)
        return connection

    def decide(self, service: EndpointService, endpoint_id: str, state: ConnectionState) -> None:
        """Accept or reject a connection; a repeated decision changes nothing.

        AWS documents a rejection only for connections that block the deletion of the service, so a
        connection in another state is assumed to refuse it.

        Raises:
            ApiError: `InvalidVpcEndpointId.NotFound`, `InvalidState`.
        """
        connection = service.connections.get(endpoint_id)
        if connection is None:
            raise ApiError(
                "InvalidVpcEndpointId.NotFound", f"The Vpc Endpoint '{endpoint_id}' does not exist"
            )
        if connection.state is ConnectionState.PENDING:
            raise ApiError("InvalidState", f"The Vpc Endpoint '{endpoint_id}' is pending")
        if connection.state is not state:
            connection.state = state
            self._announce(service, _DECISIONS[state], connection)

    def offered(self, consumer: Scope, service_name: str) -> EndpointService:
        """Return the service of a name, if this consumer may see it.

        Raises:
            ApiError: `InvalidServiceName`.
        """
        for service in self:
            if service.name == service_name and service.allows(consumer.account):
                return service
        raise ApiError(
            "InvalidServiceName", f"The Vpc Endpoint Service '{service_name}' does not exist"
        )

    def connection(self, endpoint_id: str) -> EndpointConnection | None:
        """Return the connection of an endpoint; None for an endpoint of another kind."""
        found = (service.connections.get(endpoint_id) for service in self)
        return next((connection for connection in found if connection is not None), None)

    def set_state(self, endpoint_id: str, state: str) -> None:
        """Set the state of a connection, as AWS does while it creates a consumer's endpoint.

        Raises:
            ApiError: `InvalidVpcEndpointId.NotFound`.
        """
        connection = self.connection(endpoint_id)
        if connection is None:
            raise ApiError("InvalidVpcEndpointId.NotFound", f"There is no endpoint {endpoint_id}")
        connection.state = ConnectionState(state)

    def disconnect(self, endpoint_id: str) -> None:
        """Remove the connection of a deleted endpoint."""
        for service in self:
            connection = service.connections.pop(endpoint_id, None)
            if connection is not None:
                self._announce(service, ConnectionEvent.DELETE, connection)

    def uses(self, load_balancer_arn: str) -> bool:
        """Return whether a service uses a load balancer, which then cannot be deleted."""
        return any(load_balancer_arn in service.load_balancer_arns for service in self)

    def notify(
        self, owner: Scope, *, service_id: str, topic_arn: str, events: Collection[str]
    ) -> ConnectionNotification:
        """Create a connection notification for a service.

        Raises:
            ApiError: `InvalidVpcEndpointServiceId.NotFound`.
        """
        self.find(owner, service_id)
        notification = ConnectionNotification(
            id=_identifier("vpce-nfn"),
            owner=owner,
            service_id=service_id,
            topic_arn=topic_arn,
            events=list(events),
        )
        self._notifications[notification.id] = notification
        return notification

    def _announce(
        self, service: EndpointService, event: ConnectionEvent, connection: EndpointConnection
    ) -> None:
        for notification in self.notifications(service.owner):
            if notification.service_id == service.id and event in notification.events:
                self.publish(notification, event, connection)

    def notifications(self, owner: Scope) -> list[ConnectionNotification]:
        """Return the connection notifications of an account and region."""
        return [n for n in self._notifications.values() if n.owner == owner]

    def notification(self, owner: Scope, id_: str) -> ConnectionNotification:
        """Return one connection notification.

        Raises:
            ApiError: `InvalidConnectionNotification.NotFound`.
        """
        for notification in self.notifications(owner):
            if notification.id == id_:
                return notification
        raise ApiError(
            "InvalidConnectionNotification.NotFound",
            f"The connection notification '{id_}' does not exist",
        )

    def stop_notifying(self, owner: Scope, id_: str) -> None:
        """Delete a connection notification.

        Raises:
            ApiError: `InvalidConnectionNotification.NotFound`.
        """
        del self._notifications[self.notification(owner, id_).id]


def principal_type(principal: str) -> str:
    """Return `PrincipalType` of an allowed principal."""
    if principal == "*":
        return "All"
    if _is_service(principal):
        return "Service"
    resource = principal.rpartition(":")[2]
    return {"role": "Role", "user": "User"}.get(resource.partition("/")[0], "Account")


def matches(
    values: Mapping[str, str | Collection[str]], filters: Mapping[str, Collection[str]]
) -> bool:
    """Return whether a resource passes every filter of a Describe call.

    One of a filter's values must match one of the resource's values. `*` and `?` are wildcards.

    Raises:
        ApiError: `InvalidParameterValue` for a filter that the call does not know.
    """
    for name, patterns in filters.items():
        if name not in values:
            raise ApiError("InvalidParameterValue", f"The filter '{name}' is invalid")
        held = values[name]
        entries = [held] if isinstance(held, str) else held
        if not any(fnmatch.fnmatchcase(entry, value) for entry in entries for value in patterns):
            return False
    return True


def _is_service(text: str) -> bool:
    return ".amazonaws.com" in text and ":" not in text


def _is_principal(text: str) -> bool:
    if _is_service(text):
        return True
    parts = text.split(":")
    return len(parts) == 6 and parts[0] == "arn" and parts[2] == "iam" and parts[4].isdigit()


def _identifier(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(9)[:17]}"
