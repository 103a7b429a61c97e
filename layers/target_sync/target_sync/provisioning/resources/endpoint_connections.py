"""``Custom::EndpointConnections``: rejects all connections before the service is deleted.

AWS does not delete a service with connections or pending requests (EC2 API reference,
DeleteVpcEndpointServiceConfigurations, ``ExistingVpcEndpointConnections``).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from target_sync.errors import AwsAccessDeniedError, AwsCallError, RejectedInputError
from target_sync.model import ConnectionState, EndpointConnection
from target_sync.ports import Clock, EndpointServicePort
from target_sync.provisioning.ports import ServicePort
from target_sync.provisioning.request import Attributes, ResourceRequest

#: The first pause. Each one is twice as long as the one before.
_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 16.0
#: Only these block the deletion of the service, and only these can be rejected (EC2 API reference).
_BLOCKING_STATES = frozenset({ConnectionState.PENDING_ACCEPTANCE, ConnectionState.AVAILABLE})
#: These may become available, for example while a consumer's endpoint is created.
_CHANGING_STATES = frozenset({ConnectionState.PENDING, ConnectionState.PARTIAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConnections:
    """Rejects the connections of a service when the stack is deleted."""

    service: Callable[[str], ServicePort]
    clock: Clock

    def apply(self, request: ResourceRequest, deadline: float) -> Attributes:  # noqa: ARG002 - no loop
        """Change nothing before the deletion. Return the name of the service."""
        return {"ServiceName": self.service(request.properties.required("ServiceId")).name()}

    def delete(self, request: ResourceRequest, deadline: float) -> None:
        """Reject every connection that blocks the deletion, and wait until none is open.

        A failed rejection is tried again until the deadline, because the connection may change its
        state meanwhile. A state that does not block fails nothing at the deadline.
        """
        service = self.service(request.properties.required("ServiceId"))
        rejected: set[str] = set()
        pause = _PAUSE_SECONDS
        while connections := _open(service.connections()):
            blocking = [it.endpoint_id for it in connections if it.state in _BLOCKING_STATES]
            error = _reject(service, [id_ for id_ in blocking if id_ not in rejected], rejected)
            now = self.clock.now()
            if now >= deadline:
                _check_none(blocking, error)
                return
            self.clock.sleep_until(min(deadline, now + pause))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _open(connections: Iterable[EndpointConnection]) -> list[EndpointConnection]:
    return [it for it in connections if it.state in _BLOCKING_STATES | _CHANGING_STATES]


def _reject(
    service: EndpointServicePort, ids: Iterable[str], rejected: set[str]
) -> AwsCallError | None:
    """Reject each connection, add it to ``rejected``, and return the last error.

    Raises:
        AwsAccessDeniedError: No later try can succeed.
    """
    last: AwsCallError | None = None
    for endpoint_id in ids:
        try:
            service.reject(endpoint_id)
        except AwsAccessDeniedError:
            raise
        except AwsCallError as error:
            last = error
        else:
            rejected.add(endpoint_id)
    return last


def _check_none(blocking: list[str], error: AwsCallError | None) -> None:
    if blocking:
        reason = f"could not be rejected ({error})" if error else "were rejected"
        raise RejectedInputError(
            f"These endpoint connections {reason} and are still there, so the endpoint service"
            f" cannot be deleted: {', '.join(blocking)}. Delete the stack again."
        )
