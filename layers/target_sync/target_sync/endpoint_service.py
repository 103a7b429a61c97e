"""An endpoint service behind the EC2 API."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from target_sync.aws import Failures
from target_sync.errors import EndpointServiceError, EndpointServiceUnavailableError
from target_sync.model import ConnectionState, EndpointConnection, EndpointService

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

_R = TypeVar("_R")
_T = TypeVar("_T")
_FAILURES = Failures(
    service="ec2", other=EndpointServiceError, unavailable=EndpointServiceUnavailableError
)
#: EC2 API reference, error codes.
_MISSING = frozenset({"InvalidVpcEndpointServiceId.NotFound"})


class Ec2EndpointService:
    """One endpoint service, by ID.

    Implements ``target_sync.ports.EndpointServicePort`` and
    ``target_sync.status.ports.ServicePort``.

    Each endpoint is answered by a call of its own, so that one that fails holds up no other.
    """

    def __init__(self, client: "EC2Client", service_id: str) -> None:
        self._client = client
        self._service_id = service_id

    def connections(self) -> tuple[EndpointConnection, ...]:
        """List the connections, page by page. EC2 itself says who owns each endpoint."""
        operation = "DescribeVpcEndpointConnections"
        pages = self._client.get_paginator("describe_vpc_endpoint_connections").paginate(
            Filters=[{"Name": "service-id", "Values": [self._service_id]}]
        )
        found = _FAILURES.call(
            operation, lambda: [item for page in pages for item in page["VpcEndpointConnections"]]
        )
        try:
            return tuple(_connection(item) for item in found)
        except KeyError as error:
            raise _wrong_reply(operation, error) from error

    def service(self) -> EndpointService | None:
        """The service itself; None if it does not exist."""
        operation = "DescribeVpcEndpointServiceConfigurations"
        return self._described(
            operation,
            lambda: self._client.describe_vpc_endpoint_service_configurations(
                ServiceIds=[self._service_id]
            ),
            lambda reply: _service(reply["ServiceConfigurations"][0]),
        )

    def principals(self) -> frozenset[str] | None:
        """Those that may connect; None if the service does not exist."""
        pages = self._client.get_paginator("describe_vpc_endpoint_service_permissions").paginate(
            ServiceId=self._service_id
        )
        return self._described(
            "DescribeVpcEndpointServicePermissions",
            lambda: [item for page in pages for item in page["AllowedPrincipals"]],
            lambda found: frozenset(item["Principal"] for item in found),
        )

    def _described(
        self, operation: str, ask: Callable[[], _R], read: Callable[[_R], _T]
    ) -> _T | None:
        try:
            return read(_FAILURES.call(operation, ask))
        except EndpointServiceError as error:
            if error.code in _MISSING:
                return None
            raise
        except (IndexError, KeyError) as error:
            raise _wrong_reply(operation, error) from error

    def accept(self, endpoint_id: str) -> None:
        """Accept a request. A reply of 200 with something unsuccessful in it is a failure."""
        self._answer(
            "AcceptVpcEndpointConnections",
            self._client.accept_vpc_endpoint_connections,
            endpoint_id,
        )

    def reject(self, endpoint_id: str) -> None:
        """Reject a request. A reply of 200 with something unsuccessful in it is a failure."""
        self._answer(
            "RejectVpcEndpointConnections",
            self._client.reject_vpc_endpoint_connections,
            endpoint_id,
        )

    def _answer(
        self, operation: str, method: Callable[..., Mapping[str, Any]], endpoint_id: str
    ) -> None:
        reply = _FAILURES.call(
            operation, method, ServiceId=self._service_id, VpcEndpointIds=[endpoint_id]
        )
        for item in reply.get("Unsuccessful", []):
            error = item.get("Error", {})
            raise EndpointServiceError(
                operation, error.get("Code", "Unknown"), error.get("Message", "no reason given")
            )


def _wrong_reply(operation: str, error: Exception) -> EndpointServiceError:
    return EndpointServiceError(
        operation,
        type(error).__name__,
        f"the reply does not have the documented shape: {error} is missing",
    )


def _service(item: Mapping[str, Any]) -> EndpointService:
    return EndpointService(
        state=item["ServiceState"],
        acceptance_required=item["AcceptanceRequired"],
        load_balancer_arns=tuple(item.get("NetworkLoadBalancerArns", ())),
    )


def _connection(item: Mapping[str, Any]) -> EndpointConnection:
    created = item.get("CreationTimestamp")
    return EndpointConnection(
        endpoint_id=item["VpcEndpointId"],
        owner=item["VpcEndpointOwner"],
        state=ConnectionState.of(item["VpcEndpointState"]),
        created_at=created.timestamp() if created else None,
    )
