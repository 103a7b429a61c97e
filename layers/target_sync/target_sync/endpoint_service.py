"""An endpoint service behind the EC2 API, for the status, the review and the clean deletion."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore import xform_name

from target_sync.aws import AwsApi, error_for, items_of
from target_sync.model import ConnectionState, EndpointConnection, EndpointService

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

_EC2 = AwsApi("ec2")


class Ec2EndpointService:
    """One endpoint service, by ID.

    Implements ``target_sync.ports.EndpointServicePort`` and the ``ServicePort`` of the features
    ``provisioning`` and ``status``.

    Each request is accepted or rejected in a call of its own, so a failure affects no other.
    """

    def __init__(self, client: "EC2Client", service_id: str) -> None:
        self._client = client
        self._service_id = service_id

    def connections(self) -> tuple[EndpointConnection, ...]:
        """Return all connections, from all pages. EC2 itself names the owner of each endpoint."""
        operation = "DescribeVpcEndpointConnections"
        filters = [{"Name": "service-id", "Values": [self._service_id]}]
        return _EC2.call(
            operation,
            lambda: tuple(
                _connection(item)
                for item in items_of(
                    self._client, operation, "VpcEndpointConnections", Filters=filters
                )
            ),
        )

    def service(self) -> EndpointService | None:
        """Return the service, or None if it does not exist."""
        return _EC2.find(
            "DescribeVpcEndpointServiceConfigurations", lambda: _service(self._configuration())
        )

    def name(self) -> str:
        """Return the name with which consumers create an endpoint. Its form differs by partition.

        Raises:
            AwsCallError: The call failed, or its reply has no name.
        """
        return _EC2.call(
            "DescribeVpcEndpointServiceConfigurations",
            lambda: str(self._configuration()["ServiceName"]),
        )

    def _configuration(self) -> Mapping[str, Any]:
        reply = self._client.describe_vpc_endpoint_service_configurations(
            ServiceIds=[self._service_id]
        )
        return reply["ServiceConfigurations"][0]

    def principals(self) -> frozenset[str] | None:
        """Return the principals that may connect, or None if the service does not exist."""
        operation = "DescribeVpcEndpointServicePermissions"
        return _EC2.find(
            operation,
            lambda: frozenset(
                item["Principal"]
                for item in items_of(
                    self._client, operation, "AllowedPrincipals", ServiceId=self._service_id
                )
            ),
        )

    def accept(self, endpoint_id: str) -> None:
        """Accept a request. A reply with status 200 can still report a failure."""
        self._act("AcceptVpcEndpointConnections", endpoint_id)

    def reject(self, endpoint_id: str) -> None:
        """Reject a request. A reply with status 200 can still report a failure."""
        self._act("RejectVpcEndpointConnections", endpoint_id)

    def _act(self, operation: str, endpoint_id: str) -> None:
        method = getattr(self._client, xform_name(operation))

        def read() -> None:
            reply = method(ServiceId=self._service_id, VpcEndpointIds=[endpoint_id])
            for item in reply["Unsuccessful"]:
                error = item.get("Error", {})
                raise error_for(
                    operation, error.get("Code", "Unknown"), error.get("Message", "no reason given")
                )

        _EC2.call(operation, read)


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
