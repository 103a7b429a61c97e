"""``Custom::EndpointConnections``: rejects all connections before the service is deleted.

AWS does not delete a service with connections or pending requests (EC2 API reference,
DeleteVpcEndpointServiceConfigurations, ``ExistingVpcEndpointConnections``).
"""

from collections.abc import Callable
from dataclasses import dataclass

from target_sync.errors import AwsCallError, RejectedInputError
from target_sync.model import ConnectionState
from target_sync.ports import Clock, EndpointServicePort
from target_sync.provisioning.request import Attributes, ResourceRequest

_PAUSE_SECONDS = 2.0
_OPEN_STATES = frozenset(
    {
        ConnectionState.PENDING_ACCEPTANCE,
        ConnectionState.PENDING,
        ConnectionState.AVAILABLE,
        ConnectionState.PARTIAL,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConnections:
    """Rejects the connections of a service when the stack is deleted."""

    service: Callable[[str], EndpointServicePort]
    clock: Clock

    def apply(self, request: ResourceRequest, deadline: float) -> Attributes:  # noqa: ARG002 - no loop
        """Do nothing before the deletion but check the property."""
        request.properties.required("ServiceId")
        return {}

    def delete(self, request: ResourceRequest, deadline: float) -> None:
        """Reject every open connection once, and wait until none is left."""
        service = self.service(request.properties.required("ServiceId"))
        rejected: dict[str, AwsCallError | None] = {}
        while ids := [c.endpoint_id for c in service.connections() if c.state in _OPEN_STATES]:
            _reject(service, ids, rejected)
            if self.clock.now() >= deadline:
                raise RejectedInputError(
                    "These endpoint connections were rejected but are still there, so the"
                    f" endpoint service cannot be deleted: {', '.join(ids)}. Delete the stack"
                    " again."
                )
            self.clock.sleep_until(min(deadline, self.clock.now() + _PAUSE_SECONDS))


def _reject(
    service: EndpointServicePort, ids: list[str], rejected: dict[str, AwsCallError | None]
) -> None:
    """Reject each connection once, and raise an earlier error if the connection is still open.

    The error does not count before, because the consumer may just have deleted its endpoint.
    """
    for endpoint_id in ids:
        if endpoint_id in rejected:
            if error := rejected[endpoint_id]:
                raise error
            continue
        rejected[endpoint_id] = None
        try:
            service.reject(endpoint_id)
        except AwsCallError as error:
            rejected[endpoint_id] = error
