"""``Custom::EndpointConnections``: an endpoint service without connections can be deleted.

AWS refuses to delete a service while an endpoint is connected or asks to be (EC2 API reference,
DeleteVpcEndpointServiceConfigurations, ``ExistingVpcEndpointConnections``).
"""

from collections.abc import Callable
from dataclasses import dataclass

from target_sync.errors import AwsCallError, RejectedInputError
from target_sync.model import ConnectionState
from target_sync.ports import Clock, EndpointServicePort
from target_sync.provisioning.request import Attributes, Request

_PAUSE_SECONDS = 2.0
_IN_THE_WAY = frozenset(
    {
        ConnectionState.PENDING_ACCEPTANCE,
        ConnectionState.PENDING,
        ConnectionState.AVAILABLE,
        ConnectionState.PARTIAL,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConnections:
    """The connections of a service, rejected on deletion."""

    service: Callable[[str], EndpointServicePort]
    clock: Clock

    def apply(self, request: Request, deadline: float) -> Attributes:  # noqa: ARG002 - no loop
        """Consumers make connections; there is nothing to do before the deletion."""
        request.properties.required("ServiceId")
        return {}

    def delete(self, request: Request, deadline: float) -> None:
        """Reject every connection, and wait until none is left.

        Raises:
            RefusalError: Some are still there at the deadline.
            AwsCallError: A call failed.
        """
        service = self.service(request.properties.required("ServiceId"))
        answered: dict[str, AwsCallError | None] = {}
        while left := [c.endpoint_id for c in service.connections() if c.state in _IN_THE_WAY]:
            _reject(service, left, answered)
            if self.clock.now() >= deadline:
                raise RejectedInputError(
                    "These endpoint connections were rejected but are still there, so the"
                    f" endpoint service cannot be deleted: {', '.join(left)}. Delete the stack"
                    " again."
                )
            self.clock.sleep_until(min(deadline, self.clock.now() + _PAUSE_SECONDS))


def _reject(
    service: EndpointServicePort, left: list[str], answered: dict[str, AwsCallError | None]
) -> None:
    """Reject each once. A failure counts only if the connection is there at the next look.

    A consumer may have deleted its endpoint in between.
    """
    for endpoint_id in left:
        if endpoint_id in answered:
            if error := answered[endpoint_id]:
                raise error
            continue
        answered[endpoint_id] = None
        try:
            service.reject(endpoint_id)
        except AwsCallError as error:
            answered[endpoint_id] = error
