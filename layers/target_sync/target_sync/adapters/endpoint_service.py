"""An endpoint service behind the EC2 API."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from target_sync.adapters.aws import Failures
from target_sync.core.connections import ConnectionState, EndpointConnection
from target_sync.errors import EndpointServiceError, EndpointServiceUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

_FAILURES = Failures(
    service="ec2", other=EndpointServiceError, unavailable=EndpointServiceUnavailableError
)


class Ec2EndpointService:
    """One endpoint service, by ID. Implements ``target_sync.core.connections.EndpointServicePort``.

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
            raise EndpointServiceError(
                operation,
                type(error).__name__,
                f"the reply does not have the documented shape: {error} is missing",
            ) from error

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


def _connection(item: Mapping[str, Any]) -> EndpointConnection:
    return EndpointConnection(
        endpoint_id=item["VpcEndpointId"],
        owner=item["VpcEndpointOwner"],
        state=ConnectionState.of(item["VpcEndpointState"]),
    )
